//! A Prometheus whose store was filled beforehand.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_api::time::Time;

use crate::debian::{finished, unpacked};
use crate::{Running, carrier, check, free_address, fresh, until_there};

/// The programs of Prometheus.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Unpacks them.
    pub fn get() -> Result<Programs, String> {
        Ok(Programs { folder: unpacked("prometheus", &["prometheus"])? })
    }

    /// Starts a server that knows of a hundred requests a minute until now, a tenth of which failed.
    fn start(&self, now: Time) -> Result<Running, String> {
        let data = fresh(&self.folder)?;
        let mut samples = "# TYPE http_requests counter\n".to_owned();
        for (code, each) in [("200", 90), ("500", 10)] {
            for minute in 0..=20_i64 {
                let at = now.0 / 1000 - (20 - minute) * 60;
                samples += &format!("http_requests_total{{code=\"{code}\"}} {} {at}\n", each * minute);
            }
        }
        samples += "# EOF\n";
        let (file, config, blocks) = (data.join("samples"), data.join("config.yaml"), data.join("blocks"));
        fs::write(&file, samples).map_err(|error| error.to_string())?;
        fs::write(&config, "{}\n").map_err(|error| error.to_string())?;
        let mut fill = Command::new(self.folder.join("usr/bin/promtool"));
        finished(fill.args(["tsdb", "create-blocks-from", "openmetrics"]).args([&file, &blocks]))?;
        let address = free_address()?;
        let mut server = Command::new(self.folder.join("usr/bin/prometheus"));
        server
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", blocks.display()))
            .arg(format!("--web.listen-address={address}"));
        Running::start(&mut server, &address, &data)
    }
}

/// Numbers that a server was scraped for during twenty minutes, and what metrics make of them.
pub async fn story(programs: &Programs) -> Result<(), String> {
    let (carrier, clock) = carrier()?;
    let now = clock.now();
    let server = programs.start(now)?;
    let provider = |more: Value| {
        let mut stanza = json!({"address": server.address, "query": "up"});
        for (name, value) in more.as_object().into_iter().flatten() {
            stanza[name] = value.clone();
        }
        json!({"prometheus": stanza})
    };
    until_there(&carrier, &provider(json!({"query": "vector(1)"})), "Successful [1]", now).await?;
    let rate =
        "round(sum(rate(http_requests_total{code=\"500\"}[5m])) / sum(rate(http_requests_total[5m])), 0.01)";
    let nothing = "sum(http_requests_total{code=\"none\"})";
    let range = json!({"start": "now() - duration(\"2m\")", "end": "now()", "step": "1m"});
    let cases = [
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
    ];
    let cases = cases.into_iter().map(|(what, condition, expected)| (provider(what), condition, expected));
    check(&carrier, now, cases.collect()).await
}
