use super::*;

fn map(data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"a": data}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn a_watch_from_what_was_forgotten_expires() {
    let mut server = Server::default();
    let before = server.store().version();
    assert_eq!(server.ask(&Request::new(Method::Post, MAPS).with_body(map("1"))).code, 201);
    let mut watch = Request::new(Method::Get, MAPS);
    watch.query.insert("watch".into(), "true".into());
    watch.query.insert("resourceVersion".into(), before.to_string());
    assert_eq!(server.ask(&watch).events[0]["type"], "ADDED");
    server.forget();
    assert_eq!(server.ask(&watch).events[0]["object"]["code"], 410);
}

#[test]
fn a_dry_run_leaves_nothing_behind() {
    let mut server = Server::default();
    let version = server.store().version();
    let mut dry = Request::new(Method::Post, MAPS).with_body(map("1"));
    dry.query.insert("dryRun".into(), "All".into());
    assert_eq!(server.ask(&dry).code, 201);
    assert_eq!(server.store().version(), version);
}

#[test]
fn nonsense_is_refused_not_panicked_at() {
    let mut server = Server::default();
    for path in ["", "/", "/api", "/api/v1", "/apis/a/b/c/d/e/f/g", MAPS, "/api/v1/namespaces/x"] {
        for method in [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete] {
            for body in [Value::Null, json!([]), json!({}), json!({"metadata": 1}), json!("x")] {
                let reply = server.ask(&Request::new(method, path).with_body(body));
                assert!(reply.code >= 200);
            }
        }
    }
}
