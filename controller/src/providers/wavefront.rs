//! Wavefront: the point nearest to this instant, of each series.

use serde_json::Value as Json;
use tidegate_api::object::{Key, Text};
use tidegate_api::time::Span;

use super::shared::{self, answer, encoded, entries, problem, text};
use super::{Ask, Next, Provider, ProviderProblem, Reading, SoFar, Told};
use crate::analysis::expr::Value;
use crate::question::{Method, Question};

/// Asks Wavefront.
pub struct Wavefront;

/// A server that is busy says 406; it is asked again so often.
const MOST_ATTEMPTS: u32 = 10;

impl Provider for Wavefront {
    fn name(&self) -> &'static str {
        "wavefront"
    }

    fn type_name(&self) -> &'static str {
        "Wavefront"
    }

    fn needs(&self, ask: &Ask<'_>) -> Vec<Key> {
        vec![ask.operators_secret("wavefront-api-tokens")]
    }

    fn masks(&self, ask: &Ask<'_>) -> Vec<Text> {
        token(ask).into_iter().collect()
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Next, ProviderProblem> {
        Ok(Next::Call(Box::new(question(ask)?)))
    }

    fn resume(&self, ask: &Ask<'_>, so_far: SoFar<'_>, told: Told<'_>) -> Result<Next, ProviderProblem> {
        let Told::Reply(reply) = told else { return self.begin(ask) };
        let asked = question(ask)?;
        let response = answer(&asked, reply)?;
        match response.status {
            200..=204 => {}
            406 if so_far.step < MOST_ATTEMPTS => return self.begin(ask),
            status => return Err(problem(&format!("server returned {status}"), &asked, response)),
        }
        let document = shared::json(response).map_err(|why| problem(&why, &asked, response))?;
        let now = ask.now.stamp().0;
        let points: Vec<(f64, i64)> = entries(&document, "timeseries").map(|one| nearest(one, now)).collect();
        let of = |show: &dyn Fn(&(f64, i64)) -> String| match &points[..] {
            [one] => show(one),
            several => format!("[{}]", several.iter().map(show).collect::<Vec<_>>().join(",")),
        };
        let result = match &points[..] {
            [] => return Err(problem("No TimeSeries found in response from Wavefront", &asked, response)),
            [(value, _)] => Value::Float(*value),
            several => Value::numbers(several.iter().map(|(value, _)| *value)),
        };
        let mut reading = Reading::new(result, of(&|(value, _)| format!("{value:.2}")));
        let warnings = text(&document, "warnings");
        if !warnings.is_empty() {
            reading.metadata.set("warnings", warnings);
        }
        reading.metadata.set("timestamps", of(&|(_, at)| at.to_string()));
        reading.metadata.set("drift", of(&|(_, at)| at.saturating_sub(now).to_string()));
        Ok(Next::Measured(reading))
    }
}

/// Value and time of the point that lies nearest to now; nothing at all is 0 at the beginning of time, as in the reference.
fn nearest(series: &Json, now: i64) -> (f64, i64) {
    let points = entries(series, "data").filter_map(|point| {
        let at = point.get(0)?.as_f64()? as i64;
        Some((shared::float(point.get(1)?)?, at))
    });
    points.min_by_key(|(_, at)| at.abs_diff(now)).unwrap_or((0.0, 0))
}

fn token(ask: &Ask<'_>) -> Option<Text> {
    let secrets = ask.secret(&ask.operators_secret("wavefront-api-tokens")).ok()?;
    secrets.get(text(ask.of("wavefront"), "address")).cloned()
}

fn question(ask: &Ask<'_>) -> Result<Question, ProviderProblem> {
    let stanza = ask.of("wavefront");
    let address = text(stanza, "address");
    ask.secret(&ask.operators_secret("wavefront-api-tokens"))?;
    let token = token(ask).ok_or("API token not found")?;
    let (query, at) = (encoded(text(stanza, "query")), ask.now.stamp().0.saturating_mul(1000));
    let url = format!(
        "https://{address}/api/v2/chart/api?autoEvents=false&e={at}&g=s&i=true&includeObsoleteMetrics=false\
         &listmode=false&p=1&q={query}&s={at}&strict=false"
    );
    let mut asked = ask.question(Method::Get, url);
    asked.set_header("Authorization", format!("Bearer {token}"));
    asked.set_header("Accept", "application/json");
    asked.timeout = Span::seconds(60);
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Play, play};

    fn bench() -> Play {
        play(json!({"wavefront": {"address": "shop.wavefront.com", "query": "ts(\"a.b\")"}})).secret(
            "argo-rollouts",
            "wavefront-api-tokens",
            &[("shop.wavefront.com", "t0ken")],
        )
    }

    #[test]
    fn one_instant_is_asked_for() {
        assert_eq!(
            bench().asks(),
            "GET https://shop.wavefront.com/api/v2/chart/api?autoEvents=false&e=1767226200000&g=s&i=true\
             &includeObsoleteMetrics=false&listmode=false&p=1&q=ts%28%22a.b%22%29&s=1767226200000&strict=false\n\
             Authorization: Bearer t0ken\nAccept: application/json"
        );
    }

    #[test]
    fn the_nearest_points_count() {
        let points =
            json!({"timeseries": [{"data": [[1767226000, 1.0], [1767226190, 12.125], [1767226300, 3.0]]}]});
        bench()
            .success("result == 12.125")
            .json(points)
            .gives("Successful 12.12 drift=-10 timestamps=1767226190");
        let two = json!({"warnings": "slow", "timeseries": [{"data": [[1767226200, 1]]}, {"data": []}]});
        bench()
            .success("result[0] == 1")
            .json(two)
            .gives("Successful [1.00,0.00] drift=[0,-1767226200] timestamps=[1767226200,0] warnings=slow");
    }

    /// Vector R30, and others.
    #[test]
    fn what_is_wrong_is_said() {
        bench().json(json!({"timeseries": []})).gives("Error: No TimeSeries found in response from Wavefront (GET https://shop.wavefront.com/api/v2/chart/api answered 200: …");
        bench().reply(401, "bad t0ken").gives("Error: server returned 401 (GET https://shop.wavefront.com/api/v2/chart/api answered 401: bad *****)");
        bench().reply(200, "<html>").gives("Error: expected value…");
        play(json!({"wavefront": {"address": "x"}}))
            .gives("Error: secrets \"wavefront-api-tokens\" not found");
        play(json!({"wavefront": {"address": "x"}}))
            .secret("argo-rollouts", "wavefront-api-tokens", &[])
            .gives("Error: API token not found");
        let busy = (0..20).fold(bench(), |play, _| play.reply(406, "busy")).go();
        assert_eq!(busy.questions.len(), 11);
        assert!(busy.outcome.starts_with("Error: server returned 406"));
    }
}
