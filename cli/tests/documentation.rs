//! What the documentation tells other repositories to run works.

mod program;

use program::{Folder, MANIFEST};
use tidegate_api::yaml;

const CI: &str = include_str!("../../docs/ci.md");
const EXPERIMENTS: &str = include_str!("../../docs/experiments.md");
const THRESHOLDS: &str = include_str!("../../docs/thresholds.md");

/// The fenced blocks of a language.
fn blocks(page: &'static str, language: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let mut blocks = Vec::new();
    for part in parts {
        let (name, text) = part.split_once('\n').expect("a fence ends its line");
        if name == language {
            blocks.push(text);
        }
    }
    blocks
}

#[test]
fn every_command_of_the_ci_page_runs() {
    let folder = Folder::new("documentation");
    let [scenario, workflow] = blocks(CI, "yaml")[..] else { panic!("two YAML blocks") };
    folder.write("manifests/web.yaml", MANIFEST);
    folder.write("scenarios/bad_image.yaml", scenario);
    let accepted = folder.run("test --accept");
    assert_eq!(accepted.code, Some(0), "{accepted:?}");

    let documents = yaml::read("docs/ci.md", workflow).unwrap();
    let steps = documents[0].value["jobs"]["scenarios"]["steps"].as_array().unwrap();
    let steps = steps.iter().filter_map(|step| step["run"].as_str());
    let others = blocks(CI, "").into_iter().flat_map(str::lines);
    let commands: Vec<&str> =
        steps.chain(others).filter(|command| command.starts_with("tidegate ")).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let ran = folder.shell(&format!("GITHUB_STEP_SUMMARY=summary.md; {command}"));
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
    }
    assert!(folder.read("summary.md").starts_with("## Scenarios: 1 passed, 0 failed\n"));
    assert!(folder.read("tidegate.xml").contains("tests=\"1\" failures=\"0\""));
}

/// Every figure of the page is what its command prints.
#[test]
fn every_figure_about_thresholds_is_printed() {
    let folder = Folder::new("thresholds");
    let [release, checks] = blocks(THRESHOLDS, "yaml")[..] else { panic!("two YAML blocks") };
    folder.write("release.yaml", release);
    folder.write("checks.yaml", checks);
    let shown = blocks(THRESHOLDS, "console");
    assert_eq!(shown.len(), 6);
    for block in shown {
        let (command, expected) = block.split_once('\n').unwrap();
        let ran = folder.shell(command.strip_prefix("$ ").unwrap());
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        assert!(ran.out.contains(expected), "{command} prints\n{}not\n{expected}", ran.out);
    }
}

#[test]
fn the_experiment_of_its_page_passes_a_good_version_and_finds_a_bad_one() {
    let folder = Folder::new("experiments");
    let [manifest, scenario] = blocks(EXPERIMENTS, "yaml")[..] else { panic!("two YAML blocks") };
    folder.write("shop.yaml", manifest);
    folder.write("bad_version.yaml", scenario);
    let commands: Vec<&str> = blocks(EXPERIMENTS, "").into_iter().flat_map(str::lines).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for (command, end) in commands.into_iter().zip(["shop ends Healthy", "shop ends Degraded"]) {
        let ran = folder.shell(command);
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        assert!(ran.out.contains(end) && ran.out.contains("shop-2-0-new 10"), "{command}: {ran:?}");
    }
}
