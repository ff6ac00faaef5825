//! The controller dies after every write and before every status write, starts anew with an empty cache, and must
//! arrive where an undisturbed run arrives (S31), with every invariant standing.

#[allow(dead_code)]
mod releases;

use releases::{Story, play, stories};
use tidegate_sim::world::{CallNumber, Strike};

fn sweep(story: &Story) {
    let clean = play(story, 0, Vec::new(), None);
    assert_eq!(clean.violation, None, "{}", story.name);
    for write in 0..clean.counts.writes {
        let crash = vec![(CallNumber::Write(write), Strike::CrashAfter)];
        let crashed = play(story, 0, crash, None);
        assert_eq!(crashed.violation, None, "{}: a crash after write {write}", story.name);
        assert_eq!(crashed.end, clean.end, "{}: a crash after write {write}", story.name);
    }
    for write in 0..clean.counts.status_writes {
        let crash = vec![(CallNumber::StatusWrite(write), Strike::CrashBefore)];
        let crashed = play(story, 0, crash, None);
        assert_eq!(crashed.violation, None, "{}: a crash before status write {write}", story.name);
        assert_eq!(crashed.end, clean.end, "{}: a crash before status write {write}", story.name);
    }
}

#[test]
fn every_crash_ends_like_an_undisturbed_run() {
    stories().iter().for_each(sweep);
}
