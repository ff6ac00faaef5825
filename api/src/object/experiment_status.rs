//! `status` of an Experiment.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Text;
use super::rollout_status::{Condition, Counted, Field};
use super::run_status::is_final;
use crate::time::Stamp;

fields! {
    /// How one template of an Experiment stands.
    TemplateStatus {
        /// Name of the template.
        name: Text = "name",
        /// Pods that exist.
        replicas: Counted = "replicas",
        /// Pods of its template: all of them.
        updated: Counted = "updatedReplicas",
        /// Ready pods.
        ready: Counted = "readyReplicas",
        /// Available pods.
        available: Counted = "availableReplicas",
        /// Hash collisions so far.
        collisions: Counted = "collisionCount",
        /// `Progressing`, `Running`, `Successful`, `Failed` or `Error`.
        status: Text = "status",
        /// Why, where that needs words.
        message: Text = "message",
        /// When one of the numbers changed last.
        changed: Stamp = "lastTransitionTime",
        /// Its Service.
        service: Text = "serviceName",
        /// Hash of its pods, as long as it has a Service.
        hash: Text = "podTemplateHash",
    }
}
nested!(TemplateStatus);

fields! {
    /// How one analysis of an Experiment stands.
    ExperimentRunStatus {
        /// Name of the analysis.
        name: Text = "name",
        /// Name of its run; empty before there is one.
        run: Text = "analysisRun",
        /// Phase of the run; empty before there is one.
        phase: Text = "phase",
        /// Why, where that needs words.
        message: Text = "message",
    }
}
nested!(ExperimentRunStatus);

fields! {
    /// `status` of an Experiment.
    ExperimentStatus {
        /// `Pending`, `Running`, `Successful`, `Failed`, `Error` or `Inconclusive`; empty before the first look.
        phase: Text = "phase",
        /// Why, where that needs words.
        message: Text = "message",
        /// How the templates stand.
        templates: Vec<TemplateStatus> = "templateStatuses",
        /// When all templates were available first.
        available: Stamp = "availableAt",
        /// Conditions.
        conditions: Vec<Condition> = "conditions",
        /// How the analyses stand.
        runs: Vec<ExperimentRunStatus> = "analysisRuns",
    }
}

impl ExperimentStatus {
    /// The phase; empty before the first look.
    pub fn phase(&self) -> &str {
        self.phase.as_deref().unwrap_or("")
    }

    /// Whether the Experiment is over.
    pub fn is_over(&self) -> bool {
        is_final(self.phase())
    }

    /// How a template stands.
    pub fn template(&self, name: &str) -> Option<&TemplateStatus> {
        self.templates.iter().flatten().find(|template| template.name.as_deref() == Some(name))
    }

    /// How an analysis stands.
    pub fn run(&self, name: &str) -> Option<&ExperimentRunStatus> {
        self.runs.iter().flatten().find(|run| run.name.as_deref() == Some(name))
    }

    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().flatten().find(|c| c.kind.as_deref() == Some(kind))
    }
}

impl TemplateStatus {
    /// How it stands, in a word; empty before the first look.
    pub fn status(&self) -> &str {
        self.status.as_deref().unwrap_or("")
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        is_final(self.status())
    }

    /// Available pods.
    pub fn available(&self) -> i64 {
        self.available.map_or(0, |n| n.0)
    }
}

impl ExperimentRunStatus {
    /// The phase; empty before there is a run.
    pub fn phase(&self) -> &str {
        self.phase.as_deref().unwrap_or("")
    }
}
