//! Header routes: an action, its conditions, and paths that lead to it, before all others.

use serde_json::{Value, json};

use super::super::document::{annotate, list, list_mut};
use super::super::{ManagedRoute, View};
use super::bookkeeping::Bookkeeping;
use super::{Config, action, paths, service_of};

/// The header routes that an Ingress is to have.
pub(super) struct Headers<'a> {
    pub view: &'a View<'a>,
    pub config: &'a Config<'a>,
    /// All wanted routes; only those by header are for us.
    pub wanted: &'a [ManagedRoute],
    /// Everything to the canary.
    pub action: String,
}

impl Headers<'_> {
    /// Writes them, takes away those that are no longer wanted, and says what was done.
    pub fn edit(&self, document: &mut Value, books: &mut Bookkeeping) -> Vec<String> {
        let rollout = &*self.view.at.rollout.meta.name;
        let before = document.clone();
        let wanted: Vec<&ManagedRoute> =
            self.wanted.iter().filter(|route| !route.is_mirror && route.step["match"].is_array()).collect();
        let mut told = Vec::new();
        let former: Vec<String> = self
            .known(books)
            .into_iter()
            .filter(|name| *name != self.config.root && wanted.iter().all(|route| *route.name != **name))
            .collect();
        for name in &former {
            for key in [self.config.action_key(name), self.config.conditions_key(name)] {
                annotate(document, &key, None);
                books.remove(rollout, &key);
            }
        }
        for route in &wanted {
            let keys = [self.config.action_key(&route.name), self.config.conditions_key(&route.name)];
            for (key, value) in keys.iter().zip([&self.action, &action::conditions(&route.step)]) {
                annotate(document, key, Some(value));
                books.add(rollout, key);
            }
        }
        put_paths(document, &wanted, &former, self.config.root);
        let is_route = |path: &&Value, name: &str| service_of(path) == name;
        for route in &wanted {
            let key = self.config.conditions_key(&route.name);
            let is_new = before["metadata"]["annotations"].get(&key)
                != document["metadata"]["annotations"].get(&key)
                || !paths(&before).any(|path| is_route(&path, &route.name));
            if is_new {
                told.push(format!("to headerRoute '{}'", route.name));
            }
        }
        let had = |name: &String| {
            before["metadata"]["annotations"].get(self.config.action_key(name)).is_some()
                || paths(&before).any(|path| is_route(&path, name))
        };
        if former.iter().any(had) {
            told.push("removing managed routes".to_owned());
        }
        told
    }

    /// Names that are or were header routes of ours: those in `managedRoutes`, and those that the Ingress notes with
    /// conditions, in case that the list has changed since.
    fn known(&self, books: &Bookkeeping) -> Vec<String> {
        let mut names: Vec<String> =
            self.view.at.routing.managed_routes.iter().flatten().map(|name| name.to_string()).collect();
        let prefix = self.config.conditions_key("");
        for key in books.keys(&self.view.at.rollout.meta.name) {
            if let Some(name) = key.strip_prefix(&prefix).map(str::to_owned)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }
}

/// In every rule that leads to the action: a path for each route in front, the first route first, with the paths of
/// the rule as they are. Paths of former routes go; all others keep their order.
// ARGO: the reference adds a path `/*` to every rule of the Ingress, also for hosts that this Rollout has nothing to do
// with (Q24).
fn put_paths(document: &mut Value, wanted: &[&ManagedRoute], former: &[String], root: &str) {
    for rule in list_mut(document, &["spec", "rules"]).into_iter().flatten() {
        let is_ours = |path: &Value| {
            let service = service_of(path);
            wanted.iter().any(|route| *route.name == *service) || former.iter().any(|name| name == service)
        };
        if wanted.is_empty() && !list(rule, &["http", "paths"]).iter().any(is_ours) {
            continue;
        }
        let Some(all) = list_mut(rule, &["http", "paths"]) else { continue };
        let (before, others): (Vec<Value>, Vec<Value>) = std::mem::take(all).into_iter().partition(is_ours);
        let to_action: Vec<&Value> = others.iter().filter(|path| service_of(path) == root).collect();
        for route in wanted {
            for path in &to_action {
                let known = before.iter().find(|known| {
                    service_of(known) == &*route.name
                        && ["path", "pathType"].iter().all(|field| known.get(field) == path.get(field))
                });
                all.push(known.cloned().unwrap_or_else(|| header_path(path, &route.name)));
            }
        }
        all.extend(others);
    }
}

/// A path like this one that leads to the action of a header route.
fn header_path(path: &Value, name: &str) -> Value {
    let mut made = json!({"backend": {"service": {"name": name, "port": {"name": "use-annotation"}}}});
    for field in ["path", "pathType"] {
        if let Some(value) = path.get(field) {
            made[field] = value.clone();
        }
    }
    made
}
