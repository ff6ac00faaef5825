//! Every invariant stands over many drawn releases.

#[allow(dead_code)]
mod releases;

#[test]
fn drawn_releases_keep_every_invariant() {
    let mut broken = Vec::new();
    let mut checks = 0;
    for seed in 0..500 {
        let story = releases::drawn(seed);
        let outcome = releases::play(&story, seed, Vec::new(), None);
        checks += outcome.checks;
        if let Some(violation) = outcome.violation {
            broken.push(format!("seed {seed}: {violation} ({} {:?})", story.strategy, story.acts));
        }
    }
    assert!(broken.is_empty(), "{} of 500 broken:\n{}", broken.len(), broken.join("\n"));
    assert!(checks > 100_000, "only {checks} checks");
}
