//! Named switches that take one guard away.
//!
//! An invariant that has never fired proves nothing. For each one the simulator runs the real manager through a
//! story with one of these switches on, and that invariant must be the first to speak. Each is a mistake that somebody
//! could make. No flag, file or environment variable reaches them: they are set by tests only.

/// A guard that is taken away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sabotage {
    /// Writes carry no precondition.
    NoPreconditions,
    /// A canary shrinks sets as if every pod could be missing.
    ScaleDownWithoutBudget,
    /// The active Service is switched before the new pods are available.
    SwitchBeforeAvailable,
    /// The active Service is switched as soon as one new pod is available.
    SwitchAtFirstPod,
    /// The stable version of a blue-green update goes as soon as the new one is available, before the switch.
    DrainBeforeSwitch,
    /// A preview is small also where users are on it.
    SmallPreviewForUsers,
    /// A version that users have left goes at once.
    NoScaleDownDelay,
    /// The weight of a canary is that of its last step from the beginning.
    LastWeightFirst,
    /// A restart evicts all pods at once.
    EvictEverything,
    /// The whole selector of a Service is replaced.
    ReplaceSelector,
    /// A pass goes on to the next step without looking at what the one before did.
    TwoStepsAtOnce,
    /// A pause step is done at once.
    SkipPause,
    /// A version is promoted though its pods are not available.
    PromoteUnavailable,
    /// A pause that a person ended begins again.
    ForgetResume,
    /// A ReplicaSet is found by its own hash only.
    FindByHashOnly,
    /// A new ReplicaSet gets the template of the newest one there is.
    CopyNewestTemplate,
    /// The status does not say of which generation it is.
    ForgetObservedGeneration,
    /// The scaler is told the pods of all versions.
    CountEveryVersion,
    /// The referenced Deployment goes to 0 when the first pod is there.
    RetireWorkloadEarly,
    /// A Service of another Rollout is no problem.
    ShareServices,
    /// An abort is not carried into the status.
    ForgetAbort,
    /// An abort takes the current version down without asking whether an update is under way.
    AbortStable,
    /// An abort leaves the pods of the new version.
    AbortKeepsPods,
    /// Pods of superseded versions stay.
    KeepSuperseded,
    /// In a pause the wished number of pods is read off the ReplicaSets.
    SizeFromPods,
    /// Old ReplicaSets are never deleted.
    KeepHistory,
    /// An analysis step is done at once.
    StepWithoutVerdict,
    /// A run is successful after its first look.
    DecideAtOnce,
    /// A run that is under way is not taken for the answer to its question.
    AskAgain,
    /// Runs are never told to end.
    KeepAsking,
    /// Nobody wakes up for the next measurement.
    NoNextMeasurement,
    /// A restart is left for later.
    IgnoreRestart,
    /// Nobody wakes up at the end of a pause.
    NoAlarm,
    /// Load balancers are not asked, though the operator wants it.
    TakeWeightsForGranted,
    /// A condition's message tells the time.
    StampedMessage,
    /// The weight of a step is set before its pods are there.
    WeightBeforePods,
    /// Subsets and Services move to a new version while users are led through them.
    RelabelBeforeWeight,
    /// Sizes follow the weight that is asked for, not the one that is in force.
    ShrinkBeforeWeight,
    /// All users go back to the stable version at once, however small it is.
    ReturnBeforePods,
    /// The weight moves in the same moment as the Service behind it.
    NoPropagationWait,
    /// The canary Service goes to and fro after an abort, as two rules for it in one pass make it.
    FlapAfterAbort,
    /// An interrupted version goes at once, though a Service or subset still leads to it.
    DrainReferenced,
    /// An interrupted version goes as soon as its users have been led away.
    DropSuperseded,
    /// A router that fails keeps no other from its weight.
    RunAhead,
    /// Users return from a version without pods only when the stable one carries the share of a step.
    ReturnByStep,
    /// The progress deadline counts on when the update is over.
    CountOn,
    /// An arm gets its share though the status names no Service of it, or nobody knows that Service yet.
    BlankArms,
    /// An Experiment that is over is forgotten before its step is, and the next one begins.
    ForgetInconclusive,
    /// Jobs have names of the attempt, not of the measurement.
    GeneratedNames,
    /// Measurements and Jobs are never thrown away.
    KeepMeasurements,
    /// Pods and Services of an Experiment go though users are led to them.
    ServiceBeforeWeight,
    /// A gate that was ended before it decided is a passed one.
    CancelledGatePasses,
    /// What was answered in an earlier attempt answers again.
    ReuseOldRun,
    /// The first metric that is decided decides the run.
    FirstMetricDecides,
    /// An error counts as a measurement.
    ErrorsCount,
    /// A provider that finds nothing says that all is well.
    EmptyIsGood,
    /// Whatever a specification or an analysis template says is believed.
    TrustTemplates,
    /// Nobody is told that a run cannot be made.
    SilentTrouble,
    /// A bad verdict changes nothing.
    IgnoreVerdict,
    /// The gate before a switch is never asked.
    NeverAsk,
    /// A run that is over is looked at again and again.
    WakeForTheDead,
    /// No analysis is required for the completion of an Experiment.
    RequiredIsOptional,
    /// Gates before and after a switch are open.
    OpenGates,
    /// A pass that meets a number which is not there, or makes no sense, ends without a word.
    GiveUpOnGaps,
    /// A provider that finds nothing has failed, whatever the condition says of it.
    EmptyIsAnError,
    /// What the cache does not show does not exist, and what exists already is an error.
    TrustTheCache,
    /// Services of arms have the name that is composed for them, however long.
    PlainNames,
    /// The referenced Deployment keeps its pods.
    KeepWorkload,
    /// The referenced Deployment gets pods back whenever some of the Rollout are missing.
    ReturnWorkload,
    /// A blue-green update does not pause before its switch.
    PromoteUnasked,
    /// What belonged to one version is carried over to the next one.
    CarryOver,
    /// A pass that only scales leaves the rest of the status out.
    ScaleForgets,
    /// A run of a step that is left is still listened to.
    ListenToThePast,
    /// A Job that failed is waited for.
    IgnoreFailedJobs,
    /// The share of arms is taken off nobody.
    ForgetArms,
    /// Copies that routers make have what they need, and nothing else of the original.
    BareCopies,
    /// Destinations that nobody named are taken out of routes.
    DropForeign,
    /// Header routes are written twice.
    AddRoutesAgain,
    /// Header routes lead where the weighted ones do.
    WeighHeaderRoutes,
    /// Routes that the Rollout names are not weighted.
    OverlookNamed,
    /// A canary that grew with the wished number of pods does not shrink with it.
    NeverShrink,
    /// In a full promotion missing pods are made up for on the side that is leaving.
    GrowTheLeaving,
    /// Versions that a pass which only scales leaves alone make the next one scale only, too.
    ScaleOnly,
    /// What a role takes off pods is gone, though their template has it too.
    RoleOverTemplate,
    /// Steps wait until every stable pod is available.
    WaitForStable,
    /// A pause by hand holds an abort.
    HaltAborts,
    /// An abort is led by Services only.
    AbortByServices,
    /// A version is promoted when every pod of it is available, whatever threshold is given.
    PromoteByAll,
    /// No router needs a pod of the side that has no share.
    ShrinkPrimary,
    /// A hundred parts are the whole, whatever the specification says.
    HundredIsWhole,
    /// A bounded surge is not bounded.
    SurgeAtWill,
    /// A size that a step gave the canary outlives the update.
    KeepOwnSize,
    /// The delay of an aborted version begins with the abort.
    CountFromAbort,
    /// A delay of 0 is over at once, where it should mean for ever.
    ZeroIsNow,
    /// What was invalid once is invalid for ever.
    InvalidForEver,
    /// With a pair of Services the two plain ones are left where they are.
    FollowThePair,
    /// After an abort the canary Service stays where it is.
    LeaveOnAborted,
    /// A rollback walks all steps, however near its version is.
    WalkAllSteps,
    /// A router is begun with at the first deployment, or never.
    RouterAtBirth,
}
