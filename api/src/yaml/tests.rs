use proptest::prelude::*;
use serde_json::json;

use super::*;

const ROLLOUT: &str = "\
# a comment
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: web
  annotations:
    example.com/owner: team-a
spec:
  replicas:
  template: { }
  strategy:
    canary:
      steps:
        - setWeight: twenty
        - pause: {duration: 1h}
        - pause: {}
      maxSurge: \"25%\"
";

fn one(text: &str) -> Document {
    let mut documents = read("rollout.yaml", text).unwrap_or_else(|e| panic!("{}", e.render(false)));
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn refused(text: &str) -> SourceError {
    read("rollout.yaml", text).expect_err(text)
}

fn values(text: &str) -> Vec<Value> {
    read("t.yaml", text)
        .unwrap_or_else(|e| panic!("{}", e.render(false)))
        .into_iter()
        .map(|d| d.value)
        .collect()
}

#[test]
fn fields_know_their_place() {
    let rollout = one(ROLLOUT);
    let mut shown = String::new();
    for path in [
        "",
        "kind",
        "metadata",
        "metadata.annotations[example.com/owner]",
        "metadata.labels[app]",
        "spec.replicas",
        "spec.template",
        "spec.template.spec.containers[0].image",
        "spec.strategy.canary.steps",
        "spec.strategy.canary.steps[0]",
        "spec.strategy.canary.steps[0].setWeight",
        "spec.strategy.canary.steps[1].pause",
        "spec.strategy.canary.steps[1].pause.duration",
        "spec.strategy.canary.steps[7].pause",
        "spec.strategy.canary.maxSurge",
    ] {
        let at = |span: Span| format!("{}:{}+{}", span.line, span.column, span.length);
        let (value, key) = (rollout.span(path).unwrap(), rollout.key_span(path).unwrap());
        shown += &format!("{:<8} {:<8} {path}\n", at(value), at(key));
    }
    insta::assert_snapshot!(shown, @r"
    2:1+10   2:1+10   
    3:7+7    3:1+4    kind
    4:1+8    4:1+8    metadata
    7:24+6   7:5+17   metadata.annotations[example.com/owner]
    4:1+8    4:1+8    metadata.labels[app]
    9:3+8    9:3+8    spec.replicas
    10:13+3  10:3+8   spec.template
    10:3+8   10:3+8   spec.template.spec.containers[0].image
    13:7+5   13:7+5   spec.strategy.canary.steps
    14:11+9  14:11+9  spec.strategy.canary.steps[0]
    14:22+6  14:11+9  spec.strategy.canary.steps[0].setWeight
    15:18+14 15:11+5  spec.strategy.canary.steps[1].pause
    15:29+2  15:19+8  spec.strategy.canary.steps[1].pause.duration
    13:7+5   13:7+5   spec.strategy.canary.steps[7].pause
    17:17+5  17:7+8   spec.strategy.canary.maxSurge
    ");
    assert_eq!(rollout.span("spec.strategy.canary.steps[0"), None);
    assert_eq!((rollout.name(), rollout.line()), ("rollout.yaml", 2));
}

#[test]
fn a_problem_is_shown_in_its_line() {
    let problem = one(ROLLOUT)
        .error_at(
            "spec.strategy.canary.steps[0].setWeight",
            "setWeight must be a whole number, found \"twenty\"",
        )
        .with_help("write 20");
    insta::assert_snapshot!(problem.render(false), @r#"
    error: setWeight must be a whole number, found "twenty"
      --> rollout.yaml:14:22
       |
    14 |         - setWeight: twenty
       |                      ^^^^^^
       = help: write 20
    "#);
    insta::assert_snapshot!(problem.to_string(), @r#"rollout.yaml:14:22: setWeight must be a whole number, found "twenty""#);
    let colored = problem.as_warning().render(true);
    insta::assert_snapshot!(colored.replace('\u{1b}', "~"), @r#"
    ~[1;33mwarning~[0m~[1m: setWeight must be a whole number, found "twenty"~[0m
      ~[1;34m-->~[0m rollout.yaml:14:22
       ~[1;34m|~[0m
    ~[1;34m14 |~[0m         - setWeight: twenty
       ~[1;34m|~[0m                      ~[1;33m^^^^^^~[0m
       ~[1;34m=~[0m ~[1mhelp~[0m: write 20
    "#);
}

#[test]
fn the_caret_stays_right() {
    let wide = one("{a: 漢字 é́, \"\tb\": bad}").error_at("[\tb]", "tabs and wide characters");
    insta::assert_snapshot!(wide.render(false), @r#"
    error: tabs and wide characters
     --> rollout.yaml:1:18
      |
    1 | {a: 漢字 é́, "    b": bad}
      |                      ^^^
    "#);
    let long = format!("{{\"a\": \"{}\", \"b\": bad, \"c\": \"{}\"}}", "x".repeat(5000), "y".repeat(5000));
    insta::assert_snapshot!(one(&long).error_at("b", "far to the right").render(false), @r#"
    error: far to the right
     --> rollout.yaml:1:5016
      |
    1 | …xxxxxxxxxxxxxxxxxxxxxxxxx", "b": bad, "c": "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
      |                                   ^^^
    "#);
    insta::assert_snapshot!(one(&long).error_at("a", "longer than a line").render(false), @r#"
    error: longer than a line
     --> rollout.yaml:1:7
      |
    1 | {"a": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    let steering = one("a: \"\u{202e}evil\"").error_at("a", "no \u{1b}[2J here");
    insta::assert_snapshot!(steering.render(false), @r#"
    error: no �[2J here
     --> rollout.yaml:1:4
      |
    1 | a: "�evil"
      |    ^^^^^^^
    "#);
    let json = "{\"a\": \"\\ud83d\\ude00\", \"b\": 999}";
    insta::assert_snapshot!(one(json).error_at("b", "behind a surrogate pair").render(false), @r#"
    error: behind a surrogate pair
     --> rollout.yaml:1:28
      |
    1 | {"a": "\ud83d\ude00", "b": 999}
      |                            ^^^
    "#);
}

#[test]
fn text_that_cannot_be_read_says_where() {
    let mut shown = String::new();
    for text in [
        "a: 1\nb: 2\na: 3\n",
        "{a: 1, a: 2}",
        "1: a\n\"1\": b\n",
        "a: [1, 2\nb: 3\n",
        "a: b: c\n",
        "a:\n\tb: 1\n",
        "a: \"open\n",
        "replicas: {{ .Values.replicas }}\n",
        "a: *nowhere\n",
        "a: &x [*x]\n",
        "--- &x 1\n---\na: *x\n",
        "<<: 5\n",
        "a: .nan\n",
        "a: \u{0}\n",
        "? {a: 1}\n: b\n",
        "a: 'x\n---\nb: 1\n",
        "%",
        "\"\\ud83d\"",
    ] {
        shown += &format!("{}\n", refused(text).render(false));
    }
    insta::assert_snapshot!(shown, @r#"
    error: `a` is given twice, first on line 1
     --> rollout.yaml:3:1
      |
    3 | a: 3
      | ^
      = help: keep one of the two

    error: `a` is given twice, first at column 2
     --> rollout.yaml:1:8
      |
    1 | {a: 1, a: 2}
      |        ^
      = help: keep one of the two

    error: `1` is given twice, first on line 1
     --> rollout.yaml:2:1
      |
    2 | "1": b
      | ^^^
      = help: keep one of the two

    error: illegal placement of ':' indicator
     --> rollout.yaml:2:2
      |
    2 | b: 3
      |  ^

    error: mapping values are not allowed in this context
     --> rollout.yaml:1:5
      |
    1 | a: b: c
      |     ^

    error: tabs disallowed within this context (block indentation)
     --> rollout.yaml:2:2
      |
    2 |     b: 1
      |     ^
      = help: YAML is indented with spaces, not with tabs

    error: found unexpected end of stream
     --> rollout.yaml:1:4
      |
    1 | a: "open
      |    ^

    error: a key must be text, not a map or a list
     --> rollout.yaml:1:12
      |
    1 | replicas: {{ .Values.replicas }}
      |            ^^
      = help: this looks like a template: render it first

    error: found unknown anchor
     --> rollout.yaml:1:4
      |
    1 | a: *nowhere
      |    ^

    error: this alias has no finished anchor before it in this document
     --> rollout.yaml:1:8
      |
    1 | a: &x [*x]
      |        ^^

    error: this alias has no finished anchor before it in this document
     --> rollout.yaml:3:4
      |
    3 | a: *x
      |    ^^

    error: `<<` merges a map or a list of maps, nothing else
     --> rollout.yaml:1:5
      |
    1 | <<: 5
      |     ^

    error: .nan is not a number, and JSON cannot hold it
     --> rollout.yaml:1:4
      |
    1 | a: .nan
      |    ^^^^

    error: a control character does not belong into text
     --> rollout.yaml:1:4
      |
    1 | a: �
      |    ^

    error: a key must be text, not a map or a list
     --> rollout.yaml:1:3
      |
    1 | ? {a: 1}
      |   ^

    error: found unexpected document indicator
     --> rollout.yaml:1:4
      |
    1 | a: 'x
      |    ^

    error: could not find expected directive name
     --> rollout.yaml:1:2
      |
    1 | %
      |  ^

    error: found invalid Unicode character escape code
     --> rollout.yaml:1:1
      |
    1 | "\ud83d"
      | ^
    "#);
}

#[test]
fn a_text_holds_several_documents() {
    assert_eq!(
        values("a: 1\n---\nb: 2\n...\n---\n---\n# nothing\n---\nnull\n---\n[3]\n"),
        [json!({"a": 1}), json!({"b": 2}), json!([3])]
    );
    assert_eq!(values("\u{feff}---\r\na: 1\r\nb:\r\n  - x\r\n"), [json!({"a": 1, "b": ["x"]})]);
    let windows = one("\u{feff}a: 1\r\nb:\r\n  - x\r\n");
    assert_eq!(windows.span("a").unwrap(), Span { line: 1, column: 4, length: 1 });
    assert_eq!(windows.span("b[0]").unwrap(), Span { line: 3, column: 5, length: 1 });
    assert_eq!(values("%YAML 1.1\n---\na: 1\n"), [json!({"a": 1})]);
    for empty in ["", "\n", "---\n", "# only a comment\n", "\u{feff}", "---\n...\n---\n"] {
        assert_eq!(values(empty), [] as [Value; 0], "{empty:?}");
    }
}

#[test]
fn blocks_of_text_keep_their_lines() {
    let text = "a: |\n  one\n   two\n\nb: >-\n  one\n  two\n\n  three\nc: |+\n  x\n\nd: plain\n  goes on # not this\n";
    assert_eq!(
        values(text),
        [json!({"a": "one\n two\n", "b": "one two\nthree", "c": "x\n\n", "d": "plain goes on"})]
    );
    assert_eq!(one(text).span("a").unwrap(), Span { line: 2, column: 3, length: 3 });
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    assert_eq!(
        values("a: &x {b: [1, &y 2]}\nc: *x\nd: *y\n&k e: 1\nf: *k\n"),
        [json!({"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": 2, "e": 1, "f": "e"})]
    );
    assert_eq!(values("{<<: {a: 2, b: 3}, a: 1}"), [json!({"a": 1, "b": 3})]);
    assert_eq!(values("{a: 1, <<: {a: 2, b: 3}}"), [json!({"a": 2, "b": 3})]);
    assert_eq!(values("{<<: [{a: 2}, {a: 3, c: 3}], b: 1}"), [json!({"a": 2, "b": 1, "c": 3})]);
    let shared = one("base: &b {weight: 10}\nuse: *b\nmerged:\n  <<: *b\n");
    assert_eq!(shared.span("use.weight").unwrap(), Span { line: 1, column: 19, length: 2 });
    assert_eq!(shared.span("use").unwrap(), Span { line: 2, column: 6, length: 2 });
    assert_eq!(shared.span("merged.weight").unwrap(), Span { line: 1, column: 19, length: 2 });
}

#[test]
fn json_is_read_where_yaml_would_not() {
    let text = "{\n\t\"a\"\t:\tnull,\"b\":\"\\ud83d\\ude00\\\\ud83d\\\\ude00\\\"\\t\"\n\t}";
    assert_eq!(values(text), [serde_json::from_str::<Value>(text).unwrap()]);
    assert_eq!(values(text)[0]["b"], "\u{1f600}\\ud83d\\ude00\"\t");
}

#[test]
fn a_small_text_cannot_fill_the_memory() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    assert_eq!(refused(&bomb).message, "with its aliases, this text holds more than 1000000 values");

    let long_text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1000].join(", "));
    assert_eq!(refused(&long_text).message, "with its aliases, this text holds more than 1000000 values");

    let merges =
        format!("a: &a {{k: {}}}\nb: [{}]\n", "x".repeat(100_000), vec!["{<<: *a}"; 1000].join(", "));
    assert_eq!(refused(&merges).message, "with its aliases, this text holds more than 1000000 values");
}

#[test]
fn nesting_has_an_end() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(values(&nested(127)).len(), 1);
    assert!(refused(&nested(128)).message.contains("128 deep"));
    assert!(!refused(&nested(100_000)).message.is_empty());
    assert!(refused(&"- ".repeat(10_000)).message.contains("128 deep"));
    let doubled = format!("a: &a {}\nb: {}*a{}\n", nested(100), "[".repeat(100), "]".repeat(100));
    assert!(refused(&doubled).message.contains("128 deep"));
}

#[test]
fn lists_stand_for_their_items() {
    let text = "\
kind: List
items:
- kind: RolloutList
  items:
  - {kind: Rollout, spec: {replicas: x}}
- kind: Service
-
---
kind: AllowList
spec: {items: [1]}
---
kind: EmptyList
items: []
";
    let found = objects(read("t.yaml", text).unwrap());
    let values: Vec<_> = found.iter().map(|d| d.value.clone()).collect();
    assert_eq!(
        values,
        [
            json!({"kind": "Rollout", "spec": {"replicas": "x"}}),
            json!({"kind": "Service"}),
            json!({"kind": "AllowList", "spec": {"items": [1]}})
        ]
    );
    assert_eq!(found[0].span("spec.replicas").unwrap(), Span { line: 5, column: 38, length: 1 });
    assert_eq!(found[1].line(), 6);
}

/// What Go's JSON makes of a number: a whole one is an integer.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => {
            let text = n.as_f64().unwrap().to_string();
            text.parse::<i64>().map_or(Value::Number(n), Value::from)
        }
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k, with_whole_numbers(v))).collect(),
        other => other,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
        "[ -~\u{80}-\u{a0}\u{2028}\u{1f600}\t\n]{0,12}".prop_map(Value::from),
        "(yes|null|~|<<|1e3|0x1F|-|- a|a: b|#|\\*a|&a|!!int|---|'|\")?".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[ -~\u{e9}\t]{0,6}|<<|yes|1|~", inside, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A manifest with a few characters struck out, doubled or replaced by ones that mean something in YAML.
fn mutated() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "-:?[]{}&*!|>'\"%@`,#<~=\\ \t\r\n\u{0}\u{feff}\u{85}漢0x.e".chars().collect::<Vec<_>>(),
    );
    prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, special), 0..8).prop_map(|edits| {
        let mut text: Vec<char> = ROLLOUT.chars().collect();
        for (at, how, special) in edits {
            let at = at.index(text.len());
            match how {
                0 => drop(text.remove(at)),
                1 => text.insert(at, special),
                _ => text[at] = special,
            }
        }
        text.into_iter().collect()
    })
}

/// Whatever is read can be pointed at, and every problem can be shown.
fn survives(text: &str) {
    match read("any.yaml", text) {
        Ok(documents) => {
            for document in objects(documents) {
                document.error_at("spec.strategy.canary.steps[0].setWeight", "m").render(true);
                document.error_at_key("a[b].c", "m").render(false);
            }
        }
        Err(e) => {
            assert!(e.line >= 1 && e.column >= 1 && e.length >= 1, "{e:?}");
            e.render(false);
        }
    }
}

proptest! {
    #[test]
    fn json_text_reads_as_json(value in any_json()) {
        let want = with_whole_numbers(value.clone());
        for text in [value.to_string(), format!("{value:#}"), format!("{value:#}").replace("  ", "\t").replace("\": ", "\":\t")] {
            let is_same_text = !text.contains('\t') || serde_json::from_str::<Value>(&text).ok() == Some(value.clone());
            if is_same_text {
                let found = values(&text);
                prop_assert_eq!(found.first().unwrap_or(&Value::Null), &want, "{}", text);
            }
        }
    }

    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn no_punctuation_is_too_strange(text in "[-:?\\[\\]{}&*!|>'\"%@`,#<~ab1 \t\r\n\\\\]{0,60}") {
        survives(&text);
    }

    #[test]
    fn no_slip_of_the_pen_is_too_strange(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn no_path_is_too_strange(path in "[a-z.\\[\\]0-9\"']{0,20}") {
        one(ROLLOUT).error_at(&path, "m").render(false);
    }
}
