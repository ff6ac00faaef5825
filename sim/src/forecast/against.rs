//! How two manifests behave differently: their forecasts, side by side.

use serde_json::{Value, json};

use super::shape::{Forecast, Row};

/// One figure, as it was and as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair<T> {
    /// Of the old manifest.
    pub old: T,
    /// Of the new one.
    pub new: T,
}

/// A row that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Only the new manifest has it.
    Added(Row),
    /// Only the old manifest has it.
    Removed(Row),
    /// Both have it, and it goes differently.
    Changed(Box<Pair<Row>>),
}

/// How two manifests behave differently.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The forecasts.
    pub of: Pair<Forecast>,
    /// The rows that differ, in order.
    pub rows: Vec<Change>,
    /// Rows that go the same way, at another time.
    pub shifted: usize,
}

/// Compares two forecasts. Rows that do the same at another time are counted, not listed.
pub fn difference(old: Forecast, new: Forecast) -> Difference {
    let (mut rows, mut shifted) = (Vec::new(), 0);
    for pair in aligned(&old.rows, &new.rows) {
        match pair {
            (Some(old), Some(new)) if timeless(old) == timeless(new) => {
                shifted += usize::from(old.at != new.at)
            }
            (Some(old), Some(new)) => {
                rows.push(Change::Changed(Box::new(Pair { old: old.clone(), new: new.clone() })));
            }
            (Some(old), None) => rows.push(Change::Removed(old.clone())),
            (None, Some(new)) => rows.push(Change::Added(new.clone())),
            (None, None) => {}
        }
    }
    Difference { of: Pair { old, new }, rows, shifted }
}

/// The row without the time at which it comes and without its number.
fn timeless(row: &Row) -> Row {
    let mut row = row.clone();
    (row.at, row.abort.at, row.step) = (Default::default(), Default::default(), None);
    row
}

type Aligned<'a> = (Option<&'a Row>, Option<&'a Row>);

/// Rows that are about the same step stand side by side: the longest common subsequence of their titles. What is left
/// between two of those is paired in order, as far as it is of one kind.
fn aligned<'a>(old: &'a [Row], new: &'a [Row]) -> Vec<Aligned<'a>> {
    let mut best = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            best[i][j] = match old[i].what == new[j].what {
                true => best[i + 1][j + 1] + 1,
                false => best[i + 1][j].max(best[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out, mut left) = (0, 0, Vec::new(), (Vec::new(), Vec::new()));
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i].what == new[j].what {
            flush(&mut left, &mut out);
            out.push((Some(&old[i]), Some(&new[j])));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && best[i + 1][j] >= best[i][j + 1]) {
            left.0.push(&old[i]);
            i += 1;
        } else {
            left.1.push(&new[j]);
            j += 1;
        }
    }
    flush(&mut left, &mut out);
    out
}

/// `setWeight(10)` that became `setWeight(20)` is one row that changed; a pause is no changed weight.
fn flush<'a>(left: &mut (Vec<&'a Row>, Vec<&'a Row>), out: &mut Vec<Aligned<'a>>) {
    let verb = |row: &Row| row.what.split('(').next().map(str::to_owned);
    let (old, new) = (std::mem::take(&mut left.0), std::mem::take(&mut left.1));
    let mut new = new.into_iter().peekable();
    for old in old {
        let partner = new.next_if(|new| verb(new) == verb(old));
        out.push((Some(old), partner));
    }
    out.extend(new.map(|new| (None, Some(new))));
}

impl Difference {
    /// Whether both behave the same.
    pub fn is_none(&self) -> bool {
        let Pair { old, new } = &self.of;
        let sum = |f: &Forecast| {
            let end = f.end.clone();
            (
                f.strategy,
                f.replicas,
                f.peak,
                f.extra_pod_seconds,
                f.fewest_ready,
                f.promotions,
                end,
                f.asked.clone(),
            )
        };
        self.rows.is_empty() && self.shifted == 0 && sum(old) == sum(new)
    }

    /// The difference as JSON.
    pub fn to_value(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Change::to_value).collect();
        json!({
            "namespace": self.of.new.namespace, "name": self.of.new.name, "same": self.is_none(),
            "rows": rows, "shifted": self.shifted,
            "old": self.of.old.to_value(), "new": self.of.new.to_value(),
        })
    }
}

impl Change {
    /// The change as JSON: the row as it was and as it is, null where it is not.
    pub fn to_value(&self) -> Value {
        let (old, new) = match self {
            Change::Added(new) => (None, Some(new)),
            Change::Removed(old) => (Some(old), None),
            Change::Changed(pair) => (Some(&pair.old), Some(&pair.new)),
        };
        json!({"old": old.map(Row::to_value), "new": new.map(Row::to_value)})
    }
}
