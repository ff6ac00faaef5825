//! A test program whose tests share one cluster, or are skipped together in plain sight.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Cluster, Settings, Testbed, TestbedError, begin};

/// What a test answers.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The tests of one program.
#[derive(Default)]
pub struct Suite {
    tests: Vec<(&'static str, Test)>,
}

type Test = Box<dyn FnOnce(Arc<Cluster>) -> Result<(), Failed> + Send>;

impl Suite {
    /// Adds a test. Each runs on a thread and a runtime of its own, beside the others: it works in a namespace of its own.
    pub fn test<F, Run>(mut self, name: &'static str, run: Run) -> Suite
    where
        F: Future<Output = TestResult>,
        Run: FnOnce(Arc<Cluster>) -> F + Send + 'static,
    {
        let run =
            move |cluster| runtime()?.block_on(run(cluster)).map_err(|error| Failed::from(error.to_string()));
        self.tests.push((name, Box::new(run)));
        self
    }
}

/// The `main` of a test program (`harness = false`): begins one cluster, runs the tests, and ends it. Without a cluster
/// every test is reported as ignored, and why; where skipping is not allowed, that is a failure.
pub fn run_tests(suite: Suite) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        let names = suite.tests.into_iter().map(|(name, _)| Trial::test(name, || Ok(())));
        return libtest_mimic::run(&arguments, names.collect()).exit_code();
    }
    let cluster = match runtime().and_then(|runtime| runtime.block_on(begin(&Settings::from_environment()))) {
        Ok(Testbed::Ready(cluster)) => Some(Arc::new(cluster)),
        Ok(Testbed::Skipped(reason)) => {
            println!("SKIPPED {} real-server tests: {reason}", suite.tests.len());
            None
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = suite.tests.into_iter().map(|(name, test)| match &cluster {
        Some(cluster) => {
            let cluster = cluster.clone();
            Trial::test(name, move || test(cluster))
        }
        None => Trial::test(name, || Ok(())).with_ignored_flag(true),
    });
    // Returned, not exited with: the cluster must be dropped.
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn runtime() -> Result<tokio::runtime::Runtime, TestbedError> {
    // What a test has spawned goes on while the test itself waits for a program: pods come to life while kubectl looks.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(TestbedError::io("start a runtime"))
}
