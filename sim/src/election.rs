//! Candidates for a Lease in an invented cluster: slow networks, lost replies, frozen processes, clocks that disagree.
//!
//! The election is played apart from the stories of Rollouts because it shares nothing with them but the fence: what is
//! checked here is that at no moment two processes may have writes under way (S27), and that somebody leads again once
//! the network works (L13's precondition).

use std::collections::BTreeMap;

use tidegate_api::time::{Span, Time};
use tidegate_controller::lease::{Elector, Lease, Record, Reply, Request, Standing, Timing};

use crate::dice::Dice;

/// How an election went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Election {
    /// How often somebody began to lead.
    pub reigns: u32,
    /// Writes of the Lease that were stored.
    pub writes: u32,
    /// What went wrong, in words.
    pub violations: Vec<String>,
    /// Who leads at the end, after a time without faults.
    pub leader: Option<usize>,
}

/// Faults stop after so long.
const TROUBLE: Time = Time(600_000);
/// And this is how long it has to heal: the longest freeze, two leases, and retries.
const END: Time = Time(720_000);

struct Candidate {
    elector: Elector,
    /// What its clock shows more than true time.
    skew: Span,
    frozen_until: Time,
    /// True time until which it may have writes under way.
    until: Option<Time>,
    led: bool,
    generation: u32,
    /// The request under way; what is told about an earlier one is old news.
    asked: u64,
}

enum Happens {
    Tick(usize),
    /// A request reaches the server.
    Arrives {
        who: usize,
        asked: u64,
        request: Request,
        reply_lost: bool,
    },
    Reply {
        who: usize,
        asked: u64,
        reply: Reply,
    },
}

struct Play {
    dice: Dice,
    queue: BTreeMap<(Time, u64), Happens>,
    serial: u64,
    candidates: Vec<Candidate>,
    stored: Option<Lease>,
    version: u64,
    outcome: Election,
    careless: bool,
}

/// Plays one election of three candidates. With `careless` a leader believes in its lease for twice its time, which the
/// check must notice.
pub fn play(seed: u64, careless: bool) -> Election {
    let mut dice = Dice::new(seed, "election");
    let candidates = (0..3).map(|i| candidate(i, 0, &mut dice)).collect();
    let mut play = Play {
        dice,
        queue: BTreeMap::new(),
        serial: 0,
        candidates,
        stored: None,
        version: 0,
        outcome: Election::default(),
        careless,
    };
    for who in 0..play.candidates.len() {
        play.at(Time(0), Happens::Tick(who));
    }
    play.run();
    play.outcome
}

fn candidate(who: usize, generation: u32, dice: &mut Dice) -> Candidate {
    Candidate {
        elector: Elector::new(format!("c{who}-{generation}"), Timing::default()),
        skew: Span::millis(dice.between(-3_600_000, 3_600_000)),
        frozen_until: Time(0),
        until: None,
        led: false,
        generation,
        asked: 0,
    }
}

impl Play {
    fn at(&mut self, time: Time, happens: Happens) {
        self.serial += 1;
        self.queue.insert((time, self.serial), happens);
    }

    fn run(&mut self) {
        while let Some(((now, _), happens)) = self.queue.pop_first() {
            if now > END {
                break;
            }
            match happens {
                Happens::Tick(who) => self.tick(who, now),
                Happens::Arrives { who, asked, request, reply_lost } => {
                    let reply = self.serve(request);
                    if !reply_lost {
                        let then = now.plus(self.delay(now));
                        self.at(then, Happens::Reply { who, asked, reply });
                    }
                }
                Happens::Reply { who, asked, reply } => self.told(who, asked, reply, now),
            }
        }
        self.outcome.leader = self.candidates.iter().position(|c| c.until.is_some_and(|until| until > END));
    }

    fn delay(&mut self, now: Time) -> Span {
        let slow = now < TROUBLE && self.dice.chance(100);
        Span::millis(self.dice.between(1, if slow { 9_000 } else { 50 }))
    }

    fn tick(&mut self, who: usize, now: Time) {
        let then = now.plus(Span::millis(self.dice.between(100, 400)));
        self.at(then, Happens::Tick(who));
        let freezes = now < TROUBLE && self.dice.chance(2);
        let frozen_for = Span::millis(self.dice.between(1_000, 40_000));
        let candidate = &mut self.candidates[who];
        if freezes {
            candidate.frozen_until = now.plus(frozen_for);
        }
        if now < candidate.frozen_until {
            return;
        }
        let local = now.plus(candidate.skew);
        if candidate.elector.standing(local) == Standing::Ended {
            return self.begin_anew(who);
        }
        let request = candidate.elector.tick(local);
        self.send(who, request, now);
        self.look_at(who, now);
    }

    fn send(&mut self, who: usize, request: Option<Request>, now: Time) {
        let Some(request) = request else { return };
        self.serial += 1;
        let asked = self.serial;
        self.candidates[who].asked = asked;
        let patience = self.candidates[who].elector.patience();
        let trouble = now < TROUBLE;
        let (lost, reply_lost) = (trouble && self.dice.chance(50), trouble && self.dice.chance(50));
        if !lost {
            let then = now.plus(self.delay(now));
            self.at(then, Happens::Arrives { who, asked, request, reply_lost });
        }
        self.at(now.plus(patience), Happens::Reply { who, asked, reply: Reply::Unknown });
    }

    fn told(&mut self, who: usize, asked: u64, reply: Reply, now: Time) {
        let candidate = &mut self.candidates[who];
        if candidate.asked != asked {
            return;
        }
        if now < candidate.frozen_until {
            let then = candidate.frozen_until;
            return self.at(then, Happens::Reply { who, asked, reply });
        }
        candidate.asked = 0;
        let local = now.plus(candidate.skew);
        let request = candidate.elector.answered(reply, local);
        self.send(who, request, now);
        self.look_at(who, now);
    }

    /// A process that has led and does no more ends, and another takes its place.
    fn begin_anew(&mut self, who: usize) {
        let generation = self.candidates[who].generation + 1;
        let before = self.candidates[who].until;
        self.candidates[who] = candidate(who, generation, &mut self.dice);
        // What it sent may still be under way.
        self.candidates[who].until = before;
    }

    fn look_at(&mut self, who: usize, now: Time) {
        let careless = self.careless;
        let candidate = &mut self.candidates[who];
        let Standing::Leading { until } = candidate.elector.standing(now.plus(candidate.skew)) else {
            candidate.led = false;
            return;
        };
        let true_until = until.plus(Span::millis(-candidate.skew.0));
        let extra = if careless { Timing::default().duration } else { Span::ZERO };
        candidate.until = Some(true_until.plus(extra));
        if !candidate.led {
            candidate.led = true;
            self.outcome.reigns += 1;
        }
        for (other, rival) in self.candidates.iter().enumerate().filter(|(other, _)| *other != who) {
            if rival.until.is_some_and(|until| until > now) {
                let words =
                    format!("at {} ms candidate {who} leads while {other} may have writes under way", now.0);
                self.outcome.violations.push(words);
            }
        }
    }

    fn serve(&mut self, request: Request) -> Reply {
        let store = |play: &mut Play, record: Record| {
            play.version += 1;
            play.outcome.writes += 1;
            let lease = Lease { record, version: play.version.to_string().into() };
            play.stored = Some(lease.clone());
            Reply::Is(lease)
        };
        match (request, self.stored.clone()) {
            (Request::Read, Some(lease)) => Reply::Is(lease),
            (Request::Read | Request::Replace { .. }, None) => Reply::Missing,
            (Request::Create(record), None) => store(self, record),
            (Request::Create(_), Some(_)) => Reply::Conflict,
            (Request::Replace { version, record }, Some(lease)) if lease.version == version => {
                store(self, record)
            }
            (Request::Replace { .. }, Some(_)) => Reply::Conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_two_that_may_write_and_in_the_end_somebody_leads() {
        let mut reigns = 0;
        for seed in 0..60 {
            let election = play(seed, false);
            assert_eq!(election.violations, Vec::<String>::new(), "seed {seed}");
            assert!(election.leader.is_some(), "nobody leads after the trouble, seed {seed}: {election:?}");
            assert_eq!(election, play(seed, false), "seed {seed} twice");
            reigns += election.reigns;
        }
        assert!(reigns > 120, "leaders must change for this to say anything: {reigns}");
    }

    #[test]
    fn a_leader_that_believes_too_long_is_noticed() {
        assert!((0..20).any(|seed| !play(seed, true).violations.is_empty()));
    }
}
