//! Departures that are wanted, and the patterns that name tracks and stories.

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

/// A regular expression over names of tracks or stories.
#[derive(Clone, Debug)]
pub struct Pattern {
    anywhere: Regex,
    whole: Regex,
}

impl Pattern {
    /// Reads a regular expression. Classes such as `\d` mean ASCII: names hold nothing else that matters.
    pub fn new(text: &str) -> Result<Pattern, String> {
        // Over bytes, so that the Unicode tables can stay out of the program.
        let build = |text: &str| RegexBuilder::new(text).unicode(false).build().map_err(|e| e.to_string());
        Ok(Pattern { anywhere: build(text)?, whole: build(&format!(r"\A(?:{text})\z"))? })
    }

    /// Whether it matches anywhere in the name.
    pub fn finds(&self, name: &str) -> bool {
        self.anywhere.is_match(name.as_bytes())
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.whole.is_match(name.as_bytes())
    }
}

/// A wanted departure from the incumbent.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The stories it concerns, by their whole name.
    pub story: Pattern,
    /// The tracks it concerns, by any part of their name.
    pub track: Pattern,
    /// Why it is wanted.
    pub reason: String,
}

impl Departure {
    /// Whether it covers this track of this story.
    pub fn covers(&self, story: &str, track: &str) -> bool {
        self.story.matches(story) && self.track.finds(track)
    }
}

/// Why a file of departures cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {what}")]
pub struct AllowError {
    /// Counted from one.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Reads lines `STORY-REGEX TRACK-REGEX  # reason`; empty lines and those that begin with `#` say nothing.
pub fn allowances(text: &str) -> Result<Vec<Departure>, AllowError> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let wrong = |what: String| AllowError { line: i + 1, what };
        let (patterns, reason) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<&str> = patterns.split_whitespace().collect();
        match words[..] {
            [] => {}
            [story, track] => found.push(Departure {
                story: Pattern::new(story).map_err(wrong)?,
                track: Pattern::new(track).map_err(wrong)?,
                reason: reason.trim().to_owned(),
            }),
            _ => return Err(wrong("must read `STORY-REGEX TRACK-REGEX  # reason`".to_owned())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_matched_whole_and_a_track_anywhere() {
        let allowed = allowances("# wanted\n\ncanary_\\w+|x  /desired$  # safer\n").unwrap();
        assert_eq!(allowed.len(), 1);
        assert_eq!(allowed[0].reason, "safer");
        for (story, track, covered) in [
            ("canary_walk", "rs/rev1/desired", true),
            ("x", "rs/rev1/desired", true),
            ("canary_walk", "rs/rev1/desired/x", false),
            ("a_canary_walk", "rs/rev1/desired", false),
            ("canary_", "rs/rev1/desired", false),
            ("xy", "rs/rev1/desired", false),
        ] {
            assert_eq!(allowed[0].covers(story, track), covered, "{story} {track}");
        }
    }

    #[test]
    fn malformed_lines_are_told_by_number() {
        assert_eq!(
            allowances("a b\nonly_one # why").unwrap_err().to_string(),
            "line 2: must read `STORY-REGEX TRACK-REGEX  # reason`"
        );
        assert_eq!(allowances("a b c").unwrap_err().line, 1);
        assert_eq!(allowances("\n\n( b").unwrap_err().line, 3);
        // A group closed early would slip out of the whole match.
        assert!(allowances("a)|(b c").is_err());
    }
}
