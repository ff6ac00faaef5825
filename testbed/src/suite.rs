//! A test program whose tests share one cluster, or are skipped together in plain sight.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Cluster, Settings, Testbed, TestbedError, begin, own_network};

/// What a test answers.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The tests of one program.
#[derive(Default)]
pub struct Suite {
    tests: Vec<Entry>,
}

struct Entry {
    name: String,
    test: Test,
    /// Left out unless it is asked for.
    rare: bool,
}

type Test = Box<dyn FnOnce(Arc<Cluster>) -> Result<(), Failed> + Send>;

impl Suite {
    /// Adds a test. Each runs on a thread and a runtime of its own, beside the others: it works in a namespace of its own.
    pub fn test<F, Run>(self, name: &str, run: Run) -> Suite
    where
        F: Future<Output = TestResult>,
        Run: FnOnce(Arc<Cluster>) -> F + Send + 'static,
    {
        self.add(name, false, run)
    }

    /// Adds a test that runs only by command: `--include-ignored`, or `--ignored` for these alone.
    pub fn rare<F, Run>(self, name: &str, run: Run) -> Suite
    where
        F: Future<Output = TestResult>,
        Run: FnOnce(Arc<Cluster>) -> F + Send + 'static,
    {
        self.add(name, true, run)
    }

    fn add<F, Run>(mut self, name: &str, rare: bool, run: Run) -> Suite
    where
        F: Future<Output = TestResult>,
        Run: FnOnce(Arc<Cluster>) -> F + Send + 'static,
    {
        let run =
            move |cluster| runtime()?.block_on(run(cluster)).map_err(|error| Failed::from(error.to_string()));
        self.tests.push(Entry { name: name.to_owned(), test: Box::new(run), rare });
        self
    }
}

/// The `main` of a test program (`harness = false`): begins one cluster, runs the tests, and ends it. Without a cluster
/// every test is reported as ignored, and why; where skipping is not allowed, that is a failure.
pub fn run_tests(suite: Suite) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return suite.list(&arguments);
    }
    suite.run(&arguments, &Settings::from_environment())
}

/// As [`run_tests`], in a network of its own, with a cluster of its own. `prepare` does before what needs the network of
/// the machine, and may find a reason to skip the tests.
pub fn run_tests_apart(suite: Suite, prepare: impl FnOnce(&Settings) -> Prepared) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return suite.list(&arguments);
    }
    let settings = Settings { kubeconfig: None, ..Settings::from_environment() };
    if own_network::is_inside() {
        return suite.run(&arguments, &settings);
    }
    let outcome = prepare(&settings).and_then(|prepared| prepared.map_or_else(Ok, |()| own_network::enter()));
    match outcome {
        Ok(reason) => suite.skip(&arguments, &reason),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether tests can run, or why they are skipped.
pub type Prepared = Result<Result<(), String>, TestbedError>;

impl Suite {
    fn list(self, arguments: &Arguments) -> ExitCode {
        let names = self
            .tests
            .into_iter()
            .map(|entry| Trial::test(entry.name, || Ok(())).with_ignored_flag(entry.rare));
        libtest_mimic::run(arguments, names.collect()).exit_code()
    }

    fn skip(self, arguments: &Arguments, reason: &str) -> ExitCode {
        println!("SKIPPED {} real-server tests: {reason}", self.tests.len());
        let names =
            self.tests.into_iter().map(|entry| Trial::test(entry.name, || Ok(())).with_ignored_flag(true));
        let arguments = Arguments { ignored: false, include_ignored: false, ..arguments.clone() };
        libtest_mimic::run(&arguments, names.collect()).exit_code()
    }

    fn run(self, arguments: &Arguments, settings: &Settings) -> ExitCode {
        let cluster = match runtime().and_then(|runtime| runtime.block_on(begin(settings))) {
            Ok(Testbed::Ready(cluster)) => Arc::new(cluster),
            Ok(Testbed::Skipped(reason)) => return self.skip(arguments, &reason),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let trials = self.tests.into_iter().map(|entry| {
            let (cluster, test) = (cluster.clone(), entry.test);
            Trial::test(entry.name, move || test(cluster)).with_ignored_flag(entry.rare)
        });
        // Returned, not exited with: the cluster must be dropped.
        libtest_mimic::run(arguments, trials.collect()).exit_code()
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, TestbedError> {
    // What a test has spawned goes on while the test itself waits for a program: pods come to life while kubectl looks.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(TestbedError::io("start a runtime"))
}
