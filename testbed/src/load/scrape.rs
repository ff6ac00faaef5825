//! Reads what the controller tells about its requests.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests by verb, kind and answer, as counted since the controller began; and its passes over Rollouts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Requests {
    pub(super) counts: BTreeMap<(String, String, String), u64>,
    pub(super) passes: u64,
}

impl Requests {
    /// Reads them off the text that a scrape answers.
    pub(super) fn read(text: &str) -> Requests {
        let mut read = Requests::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let value = value.parse::<f64>().unwrap_or(0.0) as u64;
            let label = |name: &str| {
                let (_, rest) = series.split_once(&format!("{name}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            if series.starts_with("controller_clientset_k8s_request_total{") {
                let [Some(verb), Some(kind), Some(code)] = ["verb", "kind", "status_code"].map(label) else {
                    continue;
                };
                *read.counts.entry((verb, kind, code)).or_default() += value;
            } else if series.starts_with("rollout_reconcile_count{") {
                read.passes += value;
            }
        }
        read
    }

    /// What came since an earlier look.
    pub(super) fn since(&self, earlier: &Requests) -> Requests {
        let counts = self.counts.iter().map(|(key, count)| {
            let before = earlier.counts.get(key).copied().unwrap_or(0);
            (key.clone(), count.saturating_sub(before))
        });
        Requests { counts: counts.collect(), passes: self.passes.saturating_sub(earlier.passes) }
    }

    /// Whether there was nothing but what a controller at rest does.
    pub(super) fn is_of_rest(&self) -> bool {
        let at_rest = |verb: &str, kind: &str| kind == "leases" || matches!(verb, "Watch" | "List");
        self.counts.iter().all(|((verb, kind, _), count)| *count == 0 || at_rest(verb, kind))
    }

    /// Writes: whatever changes something, except events and the Lease. Refused ones count.
    pub(super) fn writes(&self) -> u64 {
        let is_write = |verb: &str| matches!(verb, "Create" | "Update" | "Patch" | "Delete");
        let of_the_work = self
            .counts
            .iter()
            .filter(|((verb, kind, _), _)| is_write(verb) && kind != "events" && kind != "leases");
        of_the_work.map(|(_, count)| count).sum()
    }
}

/// The body of a page on a loopback port.
pub(super) async fn page(port: u16, path: &str) -> Result<String, String> {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = asked.await.map_err(|error| format!("{path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{path}: {}", head.lines().next().unwrap_or("no answer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_what_changes_objects_of_the_work() {
        let line = |verb: &str, kind: &str, count: u64| {
            format!(
                "controller_clientset_k8s_request_total{{kind=\"{kind}\",name=\"a\",namespace=\"n\",\
                 status_code=\"200\",verb=\"{verb}\"}} {count}\n"
            )
        };
        let text = |n: u64| {
            line("Patch", "rollouts", n)
                + &line("Create", "replicasets", n)
                + &line("Create", "events", 50)
                + &line("Update", "leases", 7 + n)
                + &line("Watch", "pods", 3)
                + "rollout_reconcile_count{name=\"a\",namespace=\"n\"} 4\n"
        };
        let (before, after) = (Requests::read(&text(2)), Requests::read(&text(5)));
        assert_eq!((before.writes(), after.since(&before).writes()), (4, 6));
        assert_eq!(after.passes, 4);
    }
}
