//! Proof that a seed is a life: played twice, in another process, on one or two threads, in a debug or a release build,
//! the same things happen at the same times.
//!
//! A check that has never failed proves nothing. So the last part plays worlds with a leak, a source of chance that no
//! seed governs, and demands that the check goes red and names the first event that differs.

use std::fmt;
use std::process::Command;

use clap::Args;
use tidegate_sim::play::{Setup, live_before, play_with};
use tidegate_sim::swarm::draw;
use tidegate_sim::world::{Happened, Interventions, Leak, Observer, World};

/// What is compared.
#[derive(Args)]
pub struct Determinism {
    /// How many lives of the swarm.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    lives: u64,
    /// Only prints the chain of each life: what another process compares with its own.
    #[arg(long)]
    print: bool,
    /// Only prints the events of this life.
    #[arg(long, value_name = "SEED")]
    log: Option<u64>,
    /// With a leak.
    #[arg(long)]
    leak: bool,
}

/// Whether a world has a leak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sound,
    Leaky,
}

impl Kind {
    fn setup(self) -> Setup {
        let leak = (self == Kind::Leaky).then_some(Leak::HashOrder);
        let interventions = Interventions { leak, ..Interventions::default() };
        Setup { interventions, silent: true, ..Setup::default() }
    }
}

/// Compares; an error names the first life and event that differ.
pub fn run(task: &Determinism) -> Result<(), String> {
    let kind = if task.leak { Kind::Leaky } else { Kind::Sound };
    if let Some(seed) = task.log {
        log(seed, kind).iter().for_each(|noted| println!("{noted}"));
        return Ok(());
    }
    let seeds: Vec<u64> = (0..task.lives).collect();
    let here = chains(&seeds, kind);
    if task.print {
        here.iter().for_each(|chain| println!("{chain:016x}"));
        return Ok(());
    }
    let lives = task.lives;
    compare("played twice", &here, &chains(&seeds, kind), |seed| Ok(log(seed, kind)))?;
    compare("on two threads", &here, &on_two_threads(&seeds, kind)?, |seed| Ok(log(seed, kind)))?;
    let own = Program::own()?;
    compare("in another process", &here, &own.chains(lives, false)?, |seed| own.log(seed))?;
    let other = Program::of_the_other_build();
    compare(other.what, &here, &other.chains(lives, false)?, |seed| other.log(seed))?;
    goes_red(&seeds, &own)
}

/// The check of the check.
fn goes_red(seeds: &[u64], own: &Program) -> Result<(), String> {
    let leaky = chains(seeds, Kind::Leaky);
    match compare("with a leak, played twice", &leaky, &chains(seeds, Kind::Leaky), |seed| {
        Ok(log(seed, Kind::Leaky))
    }) {
        Ok(()) => return Err("a leak was not noticed".to_owned()),
        Err(why) => println!("a leak is noticed, as it must be:\n  {}", why.replace('\n', "\n  ")),
    }
    if leaky == own.chains(u64::try_from(seeds.len()).unwrap_or(u64::MAX), true)? {
        return Err("a leak was not noticed in another process".to_owned());
    }
    Ok(())
}

/// The first life that differs, and the first event of it.
fn compare(
    how: &str,
    here: &[u64],
    there: &[u64],
    log_there: impl Fn(u64) -> Result<Vec<Noted>, String>,
) -> Result<(), String> {
    if here.len() != there.len() {
        return Err(format!("{how}: {} lives here, {} there", here.len(), there.len()));
    }
    let Some(at) = here.iter().zip(there).position(|(here, there)| here != there) else {
        println!("{how}: {} lives have the same chain", here.len());
        return Ok(());
    };
    let seed = u64::try_from(at).unwrap_or(u64::MAX);
    let kind = if how.contains("leak") { Kind::Leaky } else { Kind::Sound };
    let found = first_difference(&log(seed, kind), &log_there(seed)?);
    Err(format!("{how}: seed {seed} is another life\n{found}"))
}

fn first_difference(here: &[Noted], there: &[Noted]) -> String {
    let length = here.len().max(there.len());
    match (0..length).find(|at| here.get(*at) != there.get(*at)) {
        None => "its events were the same when it was played again".to_owned(),
        Some(at) => {
            let say = |noted: Option<&Noted>| noted.map_or("nothing".to_owned(), Noted::to_string);
            format!("first difference at event {at}:\n  {}\n  {}", say(here.get(at)), say(there.get(at)))
        }
    }
}

fn chains(seeds: &[u64], kind: Kind) -> Vec<u64> {
    seeds.iter().map(|seed| play_with(&draw(*seed).script, kind.setup()).hash).collect()
}

fn on_two_threads(seeds: &[u64], kind: Kind) -> Result<Vec<u64>, String> {
    let (first, second) = seeds.split_at(seeds.len() / 2);
    std::thread::scope(|scope| {
        let threads = [first, second].map(|half| scope.spawn(move || chains(half, kind)));
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a life panicked".to_owned())?);
        }
        Ok(all)
    })
}

/// An event, and the chain after it.
#[derive(Clone, PartialEq, Eq)]
struct Noted(String);

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Log(Vec<Noted>);

impl Observer for Log {
    fn saw(&mut self, world: &World, what: &Happened<'_>) {
        let said = match what {
            Happened::Stored { by, before, after, .. } => {
                let object = after.or(*before);
                let version = after.map_or(0, |object| object.meta.resource_version);
                format!("{by:?} stored {:?} in version {version}", object.map(|object| object.key()))
            }
            Happened::Refused { by, key, error, .. } => format!("{by:?} refused {key:?}: {error}"),
            Happened::Delivered { object, gone } => format!("shown {:?}, gone {gone}", object.key()),
            other => format!("{other:?}").chars().take(300).collect(),
        };
        self.0.push(Noted(format!("{} ms, chain {:016x}: {said}", world.now().0, world.chain())));
    }
}

fn log(seed: u64, kind: Kind) -> Vec<Noted> {
    let mut log = Log(Vec::new());
    live_before(&draw(seed).script, kind.setup(), &mut log);
    log.0
}

/// This program, in another process.
struct Program {
    what: &'static str,
    command: Vec<String>,
}

impl Program {
    fn own() -> Result<Program, String> {
        let own = std::env::current_exe().map_err(|why| format!("this program: {why}"))?;
        Ok(Program { what: "in another process", command: vec![own.display().to_string()] })
    }

    fn of_the_other_build() -> Program {
        let (what, profile) = match cfg!(debug_assertions) {
            true => ("debug and release", "release"),
            false => ("release and debug", "dev"),
        };
        let words = [env!("CARGO"), "run", "--quiet", "--locked", "--profile", profile, "-p", "xtask", "--"];
        Program { what, command: words.map(str::to_owned).to_vec() }
    }

    fn chains(&self, lives: u64, leak: bool) -> Result<Vec<u64>, String> {
        let lives = lives.to_string();
        let mut arguments = vec!["determinism", "--print", "--lives", &lives];
        arguments.extend(leak.then_some("--leak"));
        let text = self.run(&arguments)?;
        text.lines().map(|line| u64::from_str_radix(line, 16).map_err(|_| line.to_owned())).collect()
    }

    fn log(&self, seed: u64) -> Result<Vec<Noted>, String> {
        let text = self.run(&["determinism", "--log", &seed.to_string()])?;
        Ok(text.lines().map(|line| Noted(line.to_owned())).collect())
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let (program, before) = self.command.split_first().ok_or("no program")?;
        let output = Command::new(program).args(before).args(arguments).output();
        let output = output.map_err(|why| format!("{program}: {why}"))?;
        if !output.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        String::from_utf8(output.stdout).map_err(|why| format!("{program}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_that_differs_is_named() {
        let noted = |text: &str| Noted(text.to_owned());
        let (left, right) = ([noted("a"), noted("b"), noted("c")], [noted("a"), noted("x")]);
        assert_eq!(first_difference(&left, &right), "first difference at event 1:\n  b\n  x");
        assert_eq!(first_difference(&left, &left[..2]), "first difference at event 2:\n  c\n  nothing");
    }

    #[test]
    fn a_leak_is_noticed_and_its_first_event_named() {
        let seeds: Vec<u64> = (0..10).collect();
        let (left, right) = (chains(&seeds, Kind::Leaky), chains(&seeds, Kind::Leaky));
        let why =
            compare("a leak", &left, &right, |seed| Ok(log(seed, Kind::Leaky))).expect_err("a difference");
        assert!(why.contains("first difference at event"), "{why}");
        assert_eq!(
            compare("sound", &chains(&seeds, Kind::Sound), &chains(&seeds, Kind::Sound), |_| Ok(Vec::new())),
            Ok(())
        );
    }
}
