//! What other tools write to act on a Rollout, and what must come of it: the kubectl plugin of the reference, and the
//! actions of Argo CD.

/// A row: who writes it, what it writes, and how the Rollout is then.
pub struct Row {
    /// The Rollout of the row.
    pub name: &'static str,
    /// Whether it is of the status (`true`) or of the object, how, and the patch.
    pub patches: &'static [(bool, &'static str, &'static str)],
    /// Phase, step (of four; -1 for any), and how Argo CD calls it.
    pub ends: (&'static str, i64, &'static str),
}

const MERGE: &str = "merge";
const STATUS: bool = true;
const OBJECT: bool = false;

/// Each Rollout is paused at step 1 of `setWeight 50, pause, setWeight 60, pause` when it is patched.
pub const ROWS: &[Row] = &[
    Row {
        name: "abort",
        patches: &[(STATUS, MERGE, r#"{"status":{"abort":true}}"#)],
        ends: ("Degraded", 0, "Degraded"),
    },
    Row {
        name: "retry",
        patches: &[
            (STATUS, MERGE, r#"{"status":{"abort":true}}"#),
            (STATUS, MERGE, r#"{"status":{"abort":false}}"#),
        ],
        ends: ("Paused", 1, "Suspended"),
    },
    // Argo CD takes the field away.
    Row {
        name: "retry-nil",
        patches: &[
            (STATUS, MERGE, r#"{"status":{"abort":true}}"#),
            (STATUS, MERGE, r#"{"status":{"abort":null}}"#),
        ],
        ends: ("Paused", 1, "Suspended"),
    },
    Row {
        name: "pause",
        patches: &[(OBJECT, MERGE, r#"{"spec":{"paused":true}}"#)],
        ends: ("Paused", 1, "Suspended"),
    },
    Row {
        name: "promote",
        patches: &[(STATUS, MERGE, r#"{"status":{"pauseConditions":null}}"#)],
        ends: ("Paused", 3, "Suspended"),
    },
    Row {
        name: "promote-with-step",
        patches: &[(STATUS, MERGE, r#"{"status":{"pauseConditions":null,"currentStepIndex":2}}"#)],
        ends: ("Paused", 3, "Suspended"),
    },
    Row {
        name: "promote-inconclusive",
        patches: &[(
            STATUS,
            MERGE,
            r#"{"status":{"pauseConditions":null,"controllerPause":false,"currentStepIndex":2}}"#,
        )],
        ends: ("Paused", 3, "Suspended"),
    },
    // Paused by its specification, too: the plugin resumes that last, and there may be a pass between.
    Row {
        name: "promote-unpaused",
        patches: &[
            (OBJECT, MERGE, r#"{"spec":{"paused":true}}"#),
            (STATUS, MERGE, r#"{"status":{"pauseConditions":null}}"#),
            (OBJECT, MERGE, r#"{"spec":{"paused":false}}"#),
        ],
        ends: ("Paused", 3, "Suspended"),
    },
    Row {
        name: "skip-step",
        patches: &[(STATUS, MERGE, r#"{"status":{"currentStepIndex":2}}"#)],
        ends: ("Paused", 3, "Suspended"),
    },
    Row {
        name: "skip-all",
        patches: &[(STATUS, MERGE, r#"{"status":{"currentStepIndex":4}}"#)],
        ends: ("Healthy", 4, "Healthy"),
    },
    Row {
        name: "promote-full",
        patches: &[(STATUS, MERGE, r#"{"status":{"promoteFull":true}}"#)],
        ends: ("Healthy", 4, "Healthy"),
    },
    Row {
        name: "undo",
        patches: &[(
            OBJECT,
            "json",
            r#"[{"op":"replace","path":"/spec/template","value":{"metadata":{"labels":{"app":"undo"}},"spec":{"containers":[{"name":"c","image":"img:1"}]}}}]"#,
        )],
        ends: ("Healthy", 4, "Healthy"),
    },
];
