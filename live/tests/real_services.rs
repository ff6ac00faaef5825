//! Providers against the services they are for, started here on loopback with data put into them.
//!
//! The programs are Debian's, unpacked below `target/services` without installing them. What cannot be had is reported as
//! ignored, and why; with `TIDEGATE_REQUIRE_SERVICES=1` that is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tidegate_api::analysis::Metric;
use tidegate_api::object::{Key, Kind, Strings};
use tidegate_api::time::Time;
use tidegate_controller::analysis::condition::judge;
use tidegate_controller::analysis::secrets::Masks;
use tidegate_controller::providers::{Ask, Next, SoFar, Surroundings, Told, begin, resume};
use tidegate_live::clock::WallClock;
use tidegate_live::outside::addresses::Allowed;
use tidegate_live::outside::{Carrier, Settings};

/// How often a service that starts is asked whether it is there: for at most half a minute.
const KNOCKS: u32 = 300;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = match Prometheus::programs() {
        Ok(programs) => Trial::test("prometheus", move || on_one_thread(prometheus(&programs))),
        Err(why) if is_required() => Trial::test("prometheus", move || Err(Failed::from(why))),
        Err(why) => {
            println!("SKIPPED prometheus: {why}");
            Trial::test("prometheus", || Ok(())).with_ignored_flag(true)
        }
    };
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

#[expect(clippy::disallowed_methods, reason = "tests are configured by their caller")]
fn is_required() -> bool {
    std::env::var_os("TIDEGATE_REQUIRE_SERVICES").is_some_and(|value| value != "0" && !value.is_empty())
}

fn on_one_thread(story: impl Future<Output = Result<(), String>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::from(error.to_string()))?;
    tokio::task::LocalSet::new().block_on(&runtime, story).map_err(Failed::from)
}

/// Numbers that a server was scraped for during twenty minutes, and what metrics make of them.
async fn prometheus(programs: &Prometheus) -> Result<(), String> {
    let clock = WallClock::start();
    let now = clock.now();
    let server = programs.start(now)?;
    let carrier =
        Carrier::new(Settings { allowed: Allowed::parse("127.0.0.1")?, ..Settings::default() }, clock);
    let provider = |more: Value| {
        let mut stanza = json!({"address": server.address, "query": "up"});
        for (name, value) in more.as_object().into_iter().flatten() {
            stanza[name] = value.clone();
        }
        json!({"prometheus": stanza})
    };
    // The server is there once it answers anything at all.
    let mut waits = 0;
    while measure(&carrier, provider(json!({"query": "1"})), "true", now).await != "Successful 1" {
        waits += 1;
        if waits == KNOCKS {
            return Err("Prometheus does not start".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rate =
        "round(sum(rate(http_requests_total{code=\"500\"}[5m])) / sum(rate(http_requests_total[5m])), 0.01)";
    let nothing = "sum(http_requests_total{code=\"none\"})";
    let range = json!({"start": "now() - duration(\"2m\")", "end": "now()", "step": "1m"});
    for (what, condition, expected) in [
        (json!({"query": rate}), "result[0] < 0.2", "Successful [0.1]"),
        (json!({"query": rate}), "result[0] < 0.05", "Failed [0.1]"),
        (json!({"query": "scalar(vector(2.5))"}), "result == 2.5", "Successful 2.5"),
        (json!({"query": "vector(0) / 0"}), "isNaN(result[0])", "Successful [NaN]"),
        (json!({"query": "vector(1) / 0"}), "isInf(result[0])", "Successful [+Inf]"),
        (json!({"query": nothing}), "len(result) == 0 || result[0] < 1", "Successful []"),
        (
            json!({"query": nothing}),
            "result[0] < 1",
            "Error: could not evaluate successCondition \"result[0] < 1\": metric result is nil or empty",
        ),
        (json!({"query": rate, "rangeQuery": range}), "all(result, # < 0.2)", "Successful [0.1,0.1,0.1]"),
        (
            json!({"query": "sort(count by (code) (http_requests_total))"}),
            "len(result) == 2",
            "Successful [1,1]",
        ),
        (json!({"query": "\"text\""}), "true", "Error: Prometheus metric type not supported"),
        (
            json!({"query": "sum("}),
            "true",
            "Error: bad_data: invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis",
        ),
        (
            json!({"address": format!("{}/nowhere", server.address)}),
            "true",
            "Error: client_error: client error: 404",
        ),
    ] {
        let measured = measure(&carrier, provider(what.clone()), condition, now).await;
        if !measured.starts_with(expected) {
            return Err(format!("{what} | {condition}: {measured}, not {expected}"));
        }
    }
    Ok(())
}

/// One measurement: phase and value, or `Error: TEXT`.
async fn measure(carrier: &Carrier, provider: Value, success: &str, now: Time) -> String {
    let metric = Metric {
        name: "m".into(),
        success_condition: success.into(),
        provider: Arc::new(provider),
        ..Metric::default()
    };
    let run = Key::new(Kind::AnalysisRun, "shop", "run");
    let (secrets, surroundings, masks) = (BTreeMap::new(), Surroundings::default(), Masks::default());
    let ask = Ask {
        run: &run,
        began: None,
        metric: &metric,
        now,
        secrets: &secrets,
        surroundings: &surroundings,
        masks: &masks,
    };
    let metadata = Strings::default();
    let mut next = begin(&ask);
    for step in 0.. {
        let Ok(Next::Call(question)) = &next else { break };
        let reply = carrier.carry((**question).clone()).await;
        next = resume(&ask, SoFar { step, metadata: &metadata }, Told::Reply(&reply));
    }
    match next {
        Ok(Next::Measured(reading)) => match judge(&metric, &reading.result, now) {
            Ok(outcome) => format!("{} {}", outcome.phase(), reading.printed),
            Err(why) => format!("Error: {why}"),
        },
        Ok(other) => format!("{other:?}"),
        Err(why) => format!("Error: {why}"),
    }
}

/// The programs of Prometheus.
struct Prometheus {
    server: PathBuf,
    tool: PathBuf,
    folder: PathBuf,
}

/// A service that runs as long as this lives.
struct Running {
    child: Child,
    address: String,
    data: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Prometheus {
    fn programs() -> Result<Prometheus, String> {
        let folder = unpacked("prometheus", "usr/bin/prometheus")?;
        let (server, tool) = (folder.join("usr/bin/prometheus"), folder.join("usr/bin/promtool"));
        Ok(Prometheus { server, tool, folder })
    }

    /// Starts a server that knows of a hundred requests a minute until now, a tenth of which failed.
    fn start(&self, now: Time) -> Result<Running, String> {
        let data = self.folder.join(format!("data-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).map_err(|error| error.to_string())?;
        let mut samples = "# TYPE http_requests counter\n".to_owned();
        for (code, each) in [("200", 90), ("500", 10)] {
            for minute in 0..=20_i64 {
                let at = now.0 / 1000 - (20 - minute) * 60;
                samples += &format!("http_requests_total{{code=\"{code}\"}} {} {at}\n", each * minute);
            }
        }
        samples += "# EOF\n";
        let (file, config) = (data.join("samples"), data.join("config.yaml"));
        fs::write(&file, samples).map_err(|error| error.to_string())?;
        fs::write(&config, "{}\n").map_err(|error| error.to_string())?;
        let blocks = data.join("blocks");
        let mut fill = Command::new(&self.tool);
        fill.args(["tsdb", "create-blocks-from", "openmetrics"]).args([&file, &blocks]);
        finished(&mut fill)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = port.map_err(|error| error.to_string())?;
        let child = Command::new(&self.server)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", blocks.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| format!("{}: {error}", self.server.display()))?;
        Ok(Running { child, address: format!("http://{address}"), data })
    }
}

/// The folder into which a package of Debian was unpacked: now, unless it was before.
fn unpacked(package: &str, program: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("services");
    let folder = root.join(package);
    if folder.join(program).is_file() {
        return Ok(folder);
    }
    let fetched = root.join(format!("{package}-fetched"));
    fs::create_dir_all(&fetched).map_err(|error| error.to_string())?;
    finished(Command::new("apt-get").args(["download", package]).current_dir(&fetched))?;
    let mut files = fs::read_dir(&fetched).map_err(|error| error.to_string())?.filter_map(Result::ok);
    let file = files.find(|file| file.file_name().to_string_lossy().ends_with(".deb"));
    let file = file.ok_or_else(|| format!("apt-get brought no {package}"))?;
    finished(Command::new("dpkg").arg("-x").arg(file.path()).arg(&folder))?;
    let _ = fs::remove_dir_all(&fetched);
    Ok(folder)
}

fn finished(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", command.get_program().display(), why.lines().last().unwrap_or_default()))
}
