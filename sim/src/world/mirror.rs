//! A world as a picture of another one: what a real API server stores, held where scenarios look for it.
//!
//! Scenarios and stories ask a [`World`] whether what they wait for holds and what a verb writes. A world without a
//! controller that is only ever told what is stored elsewhere answers the same questions about a real cluster, so that
//! both worlds are asked by the same code.

use std::sync::Arc;

use tidegate_api::object::{Key, Kind, Object};
use tidegate_api::time::{Span, Time};
use tidegate_controller::plan::Notice;
use tidegate_controller::question::{Question, Reply, Response};

use super::{Recorded, RouterModel, World, WorldConfig, Writer};
use crate::cluster::store::Change;
use crate::metrics::Told;

impl World {
    /// The picture of a world in which nothing is stored yet. Nothing happens in it by itself.
    pub fn picture(now: Time) -> World {
        World::without_controller(WorldConfig { start: now, ..WorldConfig::default() })
    }

    /// A picture in which the controllers of routers are at work, so that somebody can do there what they do here: they
    /// take routes over in their own time ([`World::run_until`]) and write what they report into the picture, as
    /// [`Writer::Routers`]; load balancers say what they do ([`World::ask_balancers`]).
    pub fn picture_of_routers(now: Time, routers: RouterModel, seed: u64) -> World {
        let mut world =
            World::without_controller(WorldConfig { start: now, routers, seed, ..WorldConfig::default() });
        world.switch_data_plane_on();
        world
    }

    /// What the interface of AWS's load balancers answers, and how much later than usual.
    pub fn ask_balancers(&mut self, question: &Question) -> (Reply, Span) {
        self.asked_of_elb(question)
    }

    /// What a metric provider answers as it is scripted, and how much later than usual. Each question is a measurement of
    /// its own: who asks over HTTP does not say for whom.
    pub fn ask_provider(&mut self, provider: &str, question: &Question) -> (Reply, Span) {
        let (config, now) = (self.config.clone(), self.now);
        match config.metrics.told(provider, question, now, |series| self.answers.next(series)) {
            Told::Answer { reply, after, .. } => (reply, after),
            Told::Nothing { after } => (Reply::Answered(Response::new(404, "no such series")), after),
        }
    }

    /// It is later there.
    pub fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// This is stored there now.
    pub fn mirror(&mut self, object: Object) {
        let key = object.key();
        let before = self.store.get(&key).cloned();
        self.store.mirror(object);
        self.mirrored(&key, before);
    }

    /// The controllers of routers look on, where they are at work.
    fn mirrored(&mut self, key: &Key, before: Option<Arc<Object>>) {
        if !self.plane.on {
            return;
        }
        let change = Change { before, after: self.store.get(key).cloned(), gone: None };
        match key.kind {
            Kind::Pod => self.pod_changed(key, &change),
            Kind::Service => self.service_changed(key, &change),
            Kind::Other { .. } => self.route_changed(Writer::User, key, &change),
            _ => {}
        }
    }

    /// This is gone there.
    pub fn forget(&mut self, key: &Key) {
        let before = self.store.get(key).cloned();
        self.store.forget(key);
        self.mirrored(key, before);
    }

    /// This event was recorded there.
    pub fn hear(&mut self, notice: Notice) {
        let recorded = Arc::new(Recorded { at: self.now, notice });
        Arc::make_mut(&mut self.recorded).push(recorded);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_controller::question::{Asker, Hidden, Method};

    use super::*;
    use crate::metrics::series::Series;
    use crate::world::{Happened, Observer};

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_picture_holds_what_it_is_told_to_the_letter() {
        let mut world = World::picture(Time(5));
        let set = |owner: &str| {
            object(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "77", "generation": 3,
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Rollout", "name": "r", "uid": owner}]}}))
        };
        world.mirror(set("first"));
        world.mirror(set("second"));
        let key = Key::new(Kind::ReplicaSet, "n", "s");
        let held = world.get(&key).expect("it is there");
        assert_eq!((held.meta.resource_version, held.meta.generation, &*held.meta.uid), (77, 3, "u"));
        let owned = |world: &World, uid: &str| world.store().owned_by(uid, &Kind::ReplicaSet).count();
        assert_eq!((owned(&world, "first"), owned(&world, "second")), (0, 1));
        world.forget(&key);
        assert_eq!((world.get(&key), owned(&world, "second")), (None, 0));
        world.set_now(Time(4));
        assert_eq!((world.now(), world.next_at()), (Time(5), None));
    }

    fn routers() -> World {
        let routers = RouterModel { propagation: (100, 100), elb: true, ..RouterModel::default() };
        World::picture_of_routers(Time(0), routers, 0)
    }

    /// Statuses of routes as their controllers write them until then.
    struct Reports(Vec<Value>);

    impl Observer for Reports {
        fn saw(&mut self, _: &World, what: &Happened<'_>) {
            if let Happened::Stored { by: Writer::Routers, after: Some(after), .. } = what {
                self.0.push(after.to_value()["status"].clone());
            }
        }
    }

    fn reports(world: &mut World, until: Time) -> Vec<Value> {
        let mut reports = Reports(Vec::new());
        world.run_until(until, &mut reports);
        reports.0
    }

    #[test]
    fn a_gateway_reports_what_is_stored_elsewhere_once_it_serves_by_it() {
        let mut world = routers();
        let route = |generation: i64, status: Value| {
            object(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": "web", "namespace": "shop", "generation": generation, "resourceVersion": "7"},
                "spec": {"parentRefs": [{"name": "public"}],
                    "rules": [{"backendRefs": [{"name": "web", "weight": generation}]}]},
                "status": status}))
        };
        world.mirror(route(4, Value::Null));
        assert_eq!(reports(&mut world, Time(99)), Vec::<Value>::new());
        let said = reports(&mut world, Time(100));
        assert_eq!(said[0]["parents"][0]["conditions"][0]["observedGeneration"], 4);
        assert_eq!(said.len(), 1);
        // What comes back is what was reported: nothing to take over, and nothing to say.
        world.mirror(route(4, said[0].clone()));
        assert_eq!(world.next_at(), None);
        world.mirror(route(5, said[0].clone()));
        assert_eq!(reports(&mut world, Time(300))[0]["parents"][0]["conditions"][0]["observedGeneration"], 5);
    }

    #[test]
    fn load_balancers_tell_what_they_serve_by_not_what_is_stored() {
        let mut world = routers();
        let ingress = |weight: i64| {
            let action = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": [
                {"ServiceName": "web-canary", "ServicePort": "80", "Weight": weight},
                {"ServiceName": "web-stable", "ServicePort": "80", "Weight": 100 - weight}]}});
            object(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                "metadata": {"name": "web", "namespace": "shop",
                    "annotations": {"alb.ingress.kubernetes.io/actions.web-root": action.to_string()}},
                "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": [{"backend":
                    {"service": {"name": "web-root", "port": {"name": "use-annotation"}}}}]}}]}}))
        };
        let weights = |world: &mut World| {
            let key = Asker { key: Key::new(Kind::Rollout, "shop", "web"), part: "alb".into() };
            let mut question = Question::new(key, Method::Post, "https://elb/");
            let listener = "arn:aws:elasticloadbalancing:invented:1:listener/app/shop/web";
            question.body = Some(Hidden::new(format!("Action=DescribeRules&ListenerArn={listener}")));
            let (Reply::Answered(answer), _) = world.ask_balancers(&question) else { panic!("no answer") };
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let weights =
                text.split("<Weight>").skip(1).map(|part| part.split('<').next().unwrap().to_owned());
            weights.collect::<Vec<_>>().join(" ")
        };
        world.mirror(ingress(0));
        let said = reports(&mut world, Time(100));
        assert_eq!(said[0]["loadBalancer"]["ingress"][0]["hostname"], "web-shop.elb.example.com");
        world.mirror(ingress(20));
        assert_eq!(weights(&mut world), "0 100");
        world.run_until(Time(200), &mut ());
        assert_eq!(weights(&mut world), "20 80");
        world.forget(&ingress(20).key());
        world.run_until(Time(300), &mut ());
        assert_eq!(weights(&mut world), "");
    }

    #[test]
    fn a_provider_answers_the_next_value_each_time_it_is_asked() {
        let mut world = routers();
        world.script(Series::of_story("err", &[json!(1), json!(2)]));
        let asker = Asker { key: Key::new(Kind::AnalysisRun, "", ""), part: "".into() };
        let mut ask = |url: &str| {
            let question = Question::new(asker.clone(), Method::Get, url);
            match world.ask_provider("web", &question).0 {
                Reply::Answered(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                other => format!("{other:?}"),
            }
        };
        let said: Vec<String> = (0..3).map(|_| ask("http://m/ns/web/err")).collect();
        assert_eq!(said, ["1", "2", "2"]);
        assert_eq!(ask("http://m/ns/web/other"), "no such series");
    }
}
