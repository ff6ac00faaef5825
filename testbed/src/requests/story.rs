//! What happens to a release, as data: the manifests, the pods, and what people do and wait for. The real bed plays it
//! with the real program, and [`super::Simulated`] in the simulator, so that what users saw here and there can be
//! compared.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Pods, Route};

/// A change of weight may take so long until it is felt.
pub const HEARD: Duration = Duration::from_secs(2);
const COUNT: i64 = 5;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Story {
    /// One new version.
    Release,
    /// Another after it.
    TwoInARow,
    /// A third version while the second has half of all requests.
    ThirdMidway,
    /// The first again while the second has half of all requests.
    BackMidway,
    /// The second is aborted at 80 %.
    Abort,
    /// The second is promoted past all steps at 20 %.
    PromoteFull,
    /// The first again when the second has been released and nothing of the first is left: it lies within the rollback
    /// window, so no step is walked.
    RollbackWindow,
}

/// How it is different from a plain release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// It is not.
    Plain,
    /// The stable side shrinks as the canary grows.
    Dynamic,
    /// What is superseded goes after a second.
    Hasty,
    /// The controller is killed at random moments.
    Killed,
    /// Pods need one second to start, or twenty.
    Uneven,
    /// Both.
    UnevenDynamic,
}

/// What people do, and what they wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Somebody gives the pods the image of this version.
    Image(&'static str),
    /// Somebody aborts the update.
    Abort,
    /// Somebody promotes the update past all steps.
    PromoteFull,
    /// Until this version has been released.
    Released(&'static str),
    /// Until the canary has this weight, in percent.
    Weight(i64),
    /// Until no pod is left but those of one version: when what is superseded goes, users would notice.
    Alone,
    /// Time passes.
    Rest(Duration),
}

/// A story in a manner behind a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// What happens.
    pub story: Story,
    /// How.
    pub manner: Manner,
    /// Behind what.
    pub route: Route,
}

impl Story {
    const ALL: [Story; 7] = [
        Story::Release,
        Story::TwoInARow,
        Story::ThirdMidway,
        Story::BackMidway,
        Story::Abort,
        Story::PromoteFull,
        Story::RollbackWindow,
    ];

    fn acts(self) -> Vec<Act> {
        let release = |version| [Act::Image(version), Act::Released(version)];
        // A new version, until it has had its weight for a while.
        let midway =
            |percent| [Act::Image("v2"), Act::Weight(percent), Act::Rest(HEARD + Duration::from_secs(1))];
        match self {
            Story::Release => release("v2").to_vec(),
            Story::TwoInARow => [release("v2"), release("v3")].concat(),
            Story::ThirdMidway => [&midway(50)[..], &release("v3")].concat(),
            Story::BackMidway => [&midway(50)[..], &release("v1")].concat(),
            Story::Abort => [&midway(80)[..], &[Act::Abort, Act::Weight(0)]].concat(),
            Story::PromoteFull => [&midway(20)[..], &[Act::PromoteFull, Act::Released("v2")]].concat(),
            Story::RollbackWindow => [&release("v2")[..], &[Act::Alone], &release("v1")].concat(),
        }
    }
}

impl Manner {
    const ALL: [Manner; 6] = [
        Manner::Plain,
        Manner::Dynamic,
        Manner::Hasty,
        Manner::Killed,
        Manner::Uneven,
        Manner::UnevenDynamic,
    ];

    fn startup(self) -> (i64, i64) {
        match self {
            Manner::Uneven | Manner::UnevenDynamic => (1_000, 20_000),
            Manner::Plain | Manner::Dynamic | Manner::Hasty | Manner::Killed => (2_000, 2_000),
        }
    }

    /// How what is superseded goes.
    fn season(self, canary: &mut Value) {
        let mut delay = |seconds: i64| {
            canary["scaleDownDelaySeconds"] = seconds.into();
            canary["abortScaleDownDelaySeconds"] = seconds.into();
        };
        match self {
            Manner::Dynamic | Manner::UnevenDynamic => canary["dynamicStableScale"] = true.into(),
            Manner::Hasty => delay(1),
            // Half a minute otherwise, in which nothing happens.
            Manner::Plain | Manner::Killed | Manner::Uneven => delay(6),
        }
    }
}

/// The image of a version.
pub fn image(version: &str) -> String {
    format!("shop/web:{version}")
}

impl Case {
    /// All of them.
    pub fn all() -> Vec<Case> {
        let mut all = Vec::new();
        for route in [Route::TraefikService, Route::HttpRoute] {
            for manner in Manner::ALL {
                all.extend(Story::ALL.map(|story| Case { story, manner, route }));
            }
        }
        all
    }

    /// Whether it is played in every test run.
    pub fn is_played_each_time(self) -> bool {
        matches!(
            (self.story, self.manner, self.route),
            (Story::Release, Manner::Plain, Route::TraefikService)
                | (Story::ThirdMidway, Manner::Dynamic, Route::HttpRoute)
                | (Story::BackMidway, Manner::Killed, Route::HttpRoute)
                | (Story::Abort, Manner::Hasty, Route::TraefikService)
                | (Story::RollbackWindow, Manner::Dynamic, Route::TraefikService)
        )
    }

    /// Its name: also that of its namespace.
    pub fn name(self) -> String {
        let words = [format!("{:?}", self.story), format!("{:?}", self.manner)].map(|word| dashed(&word));
        format!("{}-{}-{}", words[0], words[1], self.route.word())
    }

    /// How pods live.
    pub fn pods(self) -> Pods {
        Pods { count: COUNT, startup: self.manner.startup(), pre_stop: 3 }
    }

    /// What the two Services select besides the version: the controller adds that.
    pub fn selector() -> Value {
        json!({"app": "web"})
    }

    /// What happens from when the first version has been released and users have come.
    pub fn acts(self) -> Vec<Act> {
        let story = self.story.acts();
        [&[Act::Rest(HEARD)][..], &story, &[Act::Alone, Act::Rest(2 * HEARD)]].concat()
    }

    /// The Rollout with the image of a version.
    pub fn rollout(self, namespace: &str, version: &str) -> Value {
        let labels = Case::selector();
        let step = |weight: i64| [json!({"setWeight": weight}), json!({"pause": {"duration": "4s"}})];
        let steps = [20, 50, 80].map(step).concat();
        let mut canary = json!({
            "stableService": "web-stable", "canaryService": "web-canary",
            "trafficRouting": self.route.traffic_routing(),
            "steps": steps,
        });
        self.manner.season(&mut canary);
        let mut spec = json!({
            "replicas": COUNT, "selector": {"matchLabels": labels},
            "template": self.pods().template(&image(version), &labels), "strategy": {"canary": canary}});
        if self.story == Story::RollbackWindow {
            spec["rollbackWindow"] = json!({"revisions": 3});
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": namespace}, "spec": spec})
    }
}

/// `TwoInARow` is two-in-a-row.
fn dashed(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let names: BTreeSet<String> = Case::all().into_iter().map(Case::name).collect();
        assert_eq!(names.len(), 84);
        assert!(names.contains("two-in-a-row-uneven-dynamic-gateway"), "{names:?}");
    }
}
