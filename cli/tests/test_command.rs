//! `tidegate test`: a suite in a repository of its own, its snapshots, its reports, how it ends.

mod program;

use program::{Folder, MANIFEST, scenario};

/// Two scenarios, their traces accepted.
fn suite(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("manifests/web.yaml", MANIFEST);
    folder.write("scenarios/canary/update.yaml", &scenario("[../../manifests/web.yaml]", "Healthy"));
    folder.write("scenarios/rest.yaml", "given: [../manifests/*.yaml]\n");
    let ran = folder.run("test --accept");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert_eq!(ran.out, "2 snapshots written\n2 passed, 0 failed\n");
    folder
}

/// The same suite with another snapshot and another expectation.
fn broken(name: &str) -> Folder {
    let folder = suite(name);
    folder.write("scenarios/canary/update.yaml", &scenario("[../../manifests/web.yaml]", "Degraded"));
    let snapshot = folder.read("snapshots/canary/update.snap");
    folder.write("snapshots/canary/update.snap", &snapshot.replace("Healthy", "Wealthy"));
    folder
}

#[test]
fn accepted_traces_are_insta_snapshots_and_pass() {
    let folder = suite("test_accept");
    let snapshot = folder.read("snapshots/canary/update.snap");
    assert!(snapshot.starts_with(
        "---\ninput_file: scenarios/canary/update.yaml\n---\n00:00:00  user  set_image web web:v2\n"
    ));
    assert_eq!(folder.read("snapshots/rest.snap"), "---\ninput_file: scenarios/rest.yaml\n---\n");
    let ran = folder.run("test");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "2 passed, 0 failed\n", ""));
}

#[test]
fn a_trace_that_differs_is_shown_and_can_be_accepted() {
    let folder = suite("test_differs");
    let snapshot = folder.read("snapshots/canary/update.snap");
    let other = snapshot.replace("---\ninput_file", "---\nsource: elsewhere.rs\ninput_file");
    folder.write("snapshots/canary/update.snap", &other.replace("Healthy", "Wealthy"));
    folder.write("snapshots/canary/update.snap.new", "waits for review");
    let ran = folder.run("test");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out
            .starts_with("FAILED scenarios/canary/update.yaml\n    the trace differs from the snapshot:\n")
    );
    assert!(
        ran.out
            .contains("\n    - 00:03:45  web   Wealthy\n    + 00:03:45  web   Healthy\n1 passed, 1 failed\n")
    );
    assert_eq!(folder.run("test --accept").out, "1 snapshots written\n2 passed, 0 failed\n");
    assert_eq!(folder.read("snapshots/canary/update.snap"), other, "its header is kept");
    assert!(!folder.has("snapshots/canary/update.snap.new"));
}

#[test]
fn several_directories_each_have_their_snapshots() {
    let folder = suite("test_several");
    folder.write("shop/scenarios/a.yaml", "given: [../../manifests/web.yaml]\n");
    assert_eq!(folder.run("test shop/scenarios --accept").code, Some(0));
    assert!(folder.has("shop/snapshots/a.snap"));
    let ran = folder.run("test scenarios shop/scenarios");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "3 passed, 0 failed\n"));
    let ran = folder.run("test scenarios/canary shop/scenarios/a.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 passed, 0 failed\n"));
    let ran = folder.run("test scenarios --snapshots elsewhere");
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("    no snapshot elsewhere/rest.snap: run with --accept\n"), "{}", ran.out);
}

#[test]
fn github_gets_annotations_at_the_lines_concerned() {
    let ran = broken("test_github").run("test -o github");
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    let [expected, differs, sums] = lines[..] else { panic!("{}", ran.out) };
    assert_eq!(
        expected,
        "::error file=scenarios/canary/update.yaml,line=6,title=update%3A not as expected::line 6: web ends Healthy, not Degraded"
    );
    let title = "title=update%3A the trace differs::the trace differs from the snapshot:%0A";
    assert!(
        differs.starts_with(&format!("::error file=snapshots/canary/update.snap,line=36,{title}")),
        "{differs}"
    );
    assert!(differs.ends_with("%0A- 00:03:45  web   Wealthy%0A+ 00:03:45  web   Healthy"));
    assert_eq!(sums, "1 passed, 1 failed");
}

#[test]
fn markdown_has_a_table_and_the_difference() {
    let ran = broken("test_markdown").run("test -o markdown");
    assert_eq!(ran.code, Some(1));
    let begin = "## Scenarios: 1 passed, 1 failed

| Folder | Passed | Failed |
|---|--:|--:|
| `scenarios` | 1 | 0 |
| `scenarios/canary` | 0 | 1 |

### `scenarios/canary/update.yaml`: not as expected, the trace differs

An update.

* line 6: web ends Healthy, not Degraded

```diff
";
    assert!(ran.out.starts_with(begin), "{}", ran.out);
    assert!(
        ran.out.ends_with("\n- 00:03:45  web   Wealthy\n+ 00:03:45  web   Healthy\n```\n"),
        "{}",
        ran.out
    );
}

#[test]
fn junit_tells_failures_from_errors() {
    let folder = broken("test_junit");
    folder.write("scenarios/bad.yaml", "given: [missing.yaml]\n");
    let ran = folder.run("test -o junit");
    assert_eq!(ran.code, Some(2));
    let begin = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"tidegate\" tests=\"3\" failures=\"1\" errors=\"1\">
  <testcase classname=\"scenarios\" name=\"bad\"><error message=\"cannot be read\">error: cannot read `missing.yaml`: ";
    assert!(ran.out.starts_with(begin), "{}", ran.out);
    let failure = "  <testcase classname=\"scenarios/canary\" name=\"update\"><failure message=\"not as expected, the trace differs\">line 6: web ends Healthy, not Degraded\nthe trace differs from the snapshot:\n";
    assert!(ran.out.contains(failure), "{}", ran.out);
    assert!(
        ran.out.ends_with("  <testcase classname=\"scenarios\" name=\"rest\"/>\n</testsuite>\n"),
        "{}",
        ran.out
    );
}

#[test]
fn one_unreadable_scenario_does_not_hide_the_others() {
    let folder = suite("test_unreadable");
    folder.write("scenarios/bad.yaml", "given: []\nwhen: [{at: 0s, promot: web}]\n");
    let ran = folder.run("test");
    assert_eq!(ran.code, Some(2));
    assert!(ran.out.contains("scenarios/bad.yaml:2:"), "{}", ran.out);
    assert!(ran.out.ends_with("2 passed, 1 failed\n"), "{}", ran.out);
}

#[test]
fn a_suite_of_nothing_does_not_pass() {
    let folder = suite("test_nothing");
    folder.write("empty/manifest.yaml", MANIFEST);
    for words in
        ["test missing", "test empty", "test scenarios empty", "test scenarios scenarios", "test -o html"]
    {
        let ran = folder.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{words}");
        assert!(ran.err.starts_with("error: "), "{words}: {}", ran.err);
    }
}

#[test]
fn snapshots_out_of_reach_are_three() {
    let folder = suite("test_outside");
    folder.write("file", "no folder");
    let ran = folder.run("test --snapshots file --accept");
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(ran.out.ends_with("0 passed, 2 failed\n"), "{}", ran.out);
    folder.write("snapshots/rest.snap", "no header\n");
    assert_eq!(folder.run("test").code, Some(3));
}
