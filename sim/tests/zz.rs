use std::path::Path;
#[test] fn t() { let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".."); for s in tidegate_sim::sweep::scripts(&root.join("scenarios/routers/alb")).unwrap() { if !s.routers.elb { continue; } let o = tidegate_sim::play::play(&s); assert!(o.failures.is_empty());
 let name = Path::new(&s.name).file_stem().unwrap().to_str().unwrap().to_owned();
 let d = root.join("snapshots/routers/alb"); std::fs::create_dir_all(&d).unwrap();
 std::fs::write(d.join(format!("{name}.snap")), format!("---\ninput_file: scenarios/routers/alb/{name}.yaml\n---\n{}\n", o.trace().trim_end())).unwrap(); }
 std::fs::write(root.join("docs/scenario.md"), tidegate_sim::scenario::keys::page()).unwrap(); }
