//! What metric providers of the invented world answer.
//!
//! A question is answered, after a while, by what the scenario scripted ([`series`]), or from the traffic model where the
//! query is one that it knows. Whatever neither answers is an error of that measurement, with a hint, never a value.
//!
//! A measurement that is asked twice, because the first answer was lost, gets the same answer: what it is told depends on
//! which measurement it is, not on how often somebody tried.

pub mod counters;
pub mod presets;
pub mod promql;
pub mod render;
pub mod series;

use std::cell::RefCell;
use std::collections::BTreeMap;

use tidegate_api::object::{Key, Kind, Text};
use tidegate_api::time::{Span, Time};
use tidegate_controller::seams::{CallId, Question, Reply};

use crate::world::{Due, Happened, Millis, Observer, World};
use presets::Shown;
use promql::Expr;
use series::{Point, Series};

/// How the metric providers of a world behave.
#[derive(Clone, PartialEq, Debug)]
pub struct MetricsModel {
    /// What the scenario scripted; the first that fits counts.
    pub series: Vec<Series>,
    /// What goes wrong with providers; the first that fits counts.
    pub outages: Vec<Outage>,
    /// How long an answer takes.
    pub latency: Millis,
    /// How often a metric system looks at pods.
    pub scrape: Span,
}

impl Default for MetricsModel {
    fn default() -> MetricsModel {
        MetricsModel { series: Vec::new(), outages: Vec::new(), latency: (5, 50), scrape: Span::seconds(15) }
    }
}

/// What becomes of a question by what a scenario scripts.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// It is answered.
    Answer {
        /// With this.
        reply: Reply,
        /// So much later than usual.
        after: Span,
        /// Why.
        source: Source,
    },
    /// Nothing is scripted for it.
    Nothing {
        /// Whatever answers it does so much later than usual.
        after: Span,
    },
}

impl MetricsModel {
    /// What a provider answers as a scenario scripts it. `place` says which of its values comes next in a series. A real
    /// server that plays the providers of a scenario asks here too.
    pub fn told(
        &self,
        provider: &str,
        question: &Question,
        now: Time,
        place: impl FnOnce(usize) -> usize,
    ) -> Told {
        let outage = self.outages.iter().find(|outage| {
            outage.until > now && outage.provider.as_deref().is_none_or(|name| name == provider)
        });
        let mut after = Span::ZERO;
        match outage.map(|outage| &outage.trouble) {
            None => {}
            Some(Trouble::Slow(by)) => after = *by,
            Some(Trouble::Down) => {
                let why = format!("dial {}: connect: connection refused", host(&question.url));
                return Told::Answer { reply: Reply::Failed(why.into()), after, source: Source::Fault };
            }
            Some(Trouble::Says(point)) => {
                let (reply, after) = (render::reply(provider, question, point, now), point.lateness());
                return Told::Answer { reply, after, source: Source::Fault };
            }
        }
        let Some(at) = self.series.iter().position(|series| series.of.fits(provider, question)) else {
            return Told::Nothing { after };
        };
        let point = self.series[at].point(place(at));
        let after = Span(after.0.saturating_add(point.lateness().0));
        let reply = render::reply(provider, question, &point, now);
        Told::Answer { reply, after, source: Source::Scripted }
    }
}

/// A time in which providers do not do what they should.
#[derive(Clone, PartialEq, Debug)]
pub struct Outage {
    /// Which provider, by the name it has in metrics; any when absent.
    pub provider: Option<String>,
    /// What is wrong.
    pub trouble: Trouble,
    /// Until when.
    pub until: Time,
}

/// What is wrong with a provider.
#[derive(Clone, PartialEq, Debug)]
pub enum Trouble {
    /// Nobody answers.
    Down,
    /// Answers take so much longer.
    Slow(Span),
    /// It answers this in place of what it should: NaN, nothing, an error, a lie.
    Says(Point),
}

/// Where an answer came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A series of the scenario.
    Scripted,
    /// The traffic model, by these presets.
    Model(String),
    /// A fault.
    Fault,
    /// Nothing: the measurement is an error.
    Nothing,
}

/// What was answered so far, so that the same measurement gets the same answer again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    /// By series: which of its values comes next.
    next: BTreeMap<usize, usize>,
    given: BTreeMap<(Measured, usize), usize>,
}

/// No range query has more steps, as in Prometheus.
const MOST_STEPS: i64 = 11_000;

/// One measurement: the run, the metric, and how many came before.
type Measured = (Key, Text, i64);

impl World {
    /// Carries a question of the controller to whoever answers it.
    pub(crate) fn carry(&mut self, from: u32, id: CallId, question: &Question, watch: &mut dyn Observer) {
        let latency = self.dice.metrics.within(self.config.metrics.latency);
        let (reply, more, source) = match question.asker.key.kind {
            Kind::AnalysisRun => self.measured(question),
            Kind::Rollout => {
                let (reply, more) = self.asked_of_elb(question);
                (reply, more, Source::Nothing)
            }
            _ => (Reply::Failed("nobody answers this in this world yet".into()), Span::ZERO, Source::Nothing),
        };
        let after = Span::millis(latency.saturating_add(more.0));
        let (after, reply) = match after > question.timeout {
            true => (question.timeout, Reply::Failed("context deadline exceeded".into())),
            false => (after, reply),
        };
        watch.saw(self, &Happened::Measured { question, reply: &reply, source: &source });
        self.push(after, Due::Replied { to: from, id, reply });
    }

    /// Scripts a series, in place of one for the same questions: its first value comes next.
    pub fn script(&mut self, series: Series) {
        let all = &mut self.config_mut().metrics.series;
        match all.iter().position(|known| known.of == series.of) {
            Some(at) => {
                all[at] = series;
                self.answers.next.remove(&at);
                self.answers.given.retain(|(_, series), _| *series != at);
            }
            None => all.push(series),
        }
    }

    fn measured(&mut self, question: &Question) -> (Reply, Span, Source) {
        let asker = &question.asker;
        let run = self.store.get(&asker.key).and_then(|run| run.analysis_run());
        let spec = run.map(|run| run.spec.clone());
        let metrics = spec.iter().flat_map(|spec| &spec.spec().metrics);
        let metric = metrics.into_iter().find(|metric| metric["name"].as_str() == Some(&*asker.part));
        let stanza = metric.and_then(|metric| metric["provider"].as_object()?.iter().next());
        let provider = stanza.map_or("", |(name, _)| name.as_str());
        let result = run.and_then(|run| run.status.result(&asker.part));
        let taken = result.map_or(0, |r| r.count.unwrap_or(0).saturating_add(r.error.unwrap_or(0)));
        let now = self.now;
        let measured = (asker.key.clone(), asker.part.clone(), taken);
        let (config, answers) = (self.config.clone(), &mut self.answers);
        let place = |series| answers.place(measured, series);
        let more = match config.metrics.told(provider, question, now, place) {
            Told::Answer { reply, after, source } => return (reply, after, source),
            Told::Nothing { after } => after,
        };
        let why = match provider {
            "prometheus" => match self.modelled(question, taken) {
                Ok((reply, presets)) => return (reply, more, Source::Model(presets)),
                Err(why) => format!("the traffic model does not answer it ({why})"),
            },
            _ => "the traffic model answers Prometheus only".to_owned(),
        };
        let why = format!(
            "nothing in this world answers {question}: no series under `world.metrics` fits it, and {why}"
        );
        (Reply::Failed(why.into()), more, Source::Nothing)
    }

    /// What the traffic model says to a query, and by which presets.
    fn modelled(&mut self, question: &Question, taken: i64) -> Result<(Reply, String), String> {
        let (now, scrape) = (self.now, self.config.metrics.scrape);
        let parameters = parameters(question);
        let of =
            |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let expr = Expr::parse(of("query").ok_or("there is no query")?)?;
        if self.counters().is_none_or(|counters| !counters.is_on()) {
            return Err("nobody sends requests: say `world.traffic`".to_owned());
        }
        let Some(counters) = self.counters.as_deref() else { return Err("nothing was counted".to_owned()) };
        let asker = &question.asker;
        let value_at = |at: Time| {
            let mut shown = Shown {
                world: self,
                counters,
                namespace: &asker.key.namespace,
                at: at.min(now),
                scrape,
                measurement: format!("{} {} {taken}", asker.key.name, asker.part),
                used: RefCell::default(),
            };
            let value = expr.value(&mut shown)?;
            Ok::<_, String>((value, shown.used.into_inner().join(", ")))
        };
        let instant =
            |name: &str| of(name).and_then(|text| text.parse::<f64>().ok()).map(|s| (s * 1000.0) as i64);
        let mut times = vec![instant("time").map_or(now, Time)];
        if let (Some(start), Some(end), Some(step)) = (instant("start"), instant("end"), instant("step")) {
            let step = step.max(1);
            let count = ((end - start).max(0) / step).min(MOST_STEPS);
            times = (0..=count).map(|n| Time(start.saturating_add(n * step))).collect();
        }
        let (mut values, mut presets) = (Vec::new(), String::new());
        for at in times {
            let (value, used) = value_at(at)?;
            values.extend(value.map(render::number));
            presets = used;
        }
        Ok((render::reply("prometheus", question, &Point::Value(values.into()), now), presets))
    }
}

impl Answers {
    /// Which value of a series a measurement gets.
    fn place(&mut self, measured: Measured, series: usize) -> usize {
        let Answers { next, given } = self;
        *given.entry((measured, series)).or_insert_with(|| advance(next, series))
    }

    /// The next value of a series.
    pub(crate) fn next(&mut self, series: usize) -> usize {
        advance(&mut self.next, series)
    }
}

fn advance(next: &mut BTreeMap<usize, usize>, series: usize) -> usize {
    let place = next.entry(series).or_default();
    *place += 1;
    *place - 1
}

/// The fields of a form, and those of an address.
pub(crate) fn parameters(question: &Question) -> Vec<(String, String)> {
    let query = question.url.split_once('?').map_or("", |(_, query)| query);
    let body = question.body.as_ref().map_or("", |body| &**body.reveal());
    let pairs = query.split('&').chain(body.split('&')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (series::decoded(name), series::decoded(value))).collect()
}

/// Whom an address leads to.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}
