"""Word lists: function words, which are no names, and the verbs that a docstring may begin with."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that are no names, because a reader cannot search for them (PLAIN-WORDS): pronouns, adverbs, prepositions,
#: and participles and adjectives that fit every value. Idioms that every programmer reads are left out:
#: `all`, `any`, `other`, `first`, `last`, `left`, `right`, `end`, `in`, `out`, `up`, `down`, `to`, and the pairs before
#: and after, above and below, inside and outside.
FUNCTION_WORDS = _words(
    """
    it its itself this that these those who whom whose which what where when one ones some none others each both
    rest same such so something here there then now once elsewhere at of by among between beside beyond near far
    about again away off over under without on upon into for from found told asked kept ended given known named made
    wanted shown seen said taken put held own whole alike mend
    """
)

#: Public names that consist of function words: a cause of the audit, a field of `Diff`.
IDIOMS = frozenset({"off_by_one", "both"})

#: The verbs that a function's docstring may begin with, in their base form.
VERBS = _words(
    """
    Accept Accumulate Add Adopt Adjust Advance Align Allocate Allow Answer Append Apply Approve Arrange Ask Assemble
    Assert Assign Attach Attend Audit Average Backpropagate Batch Begin Bind Block Bound Break Bring Broadcast Build
    Buffer Cache Calculate Call Cancel Canonicalise Carry Cast Catch Change Check Choose Chunk Classify Clamp Clean
    Clear Close Collapse Collate Collect Combine Compare Compile Complete Compose Compress Compute Concatenate Configure
    Connect Construct Consume Continue Convert Copy Correct Corrupt Cost Count Cover Create Cross Cut Cycle Deal
    Decide Decode Decompress Decorate Deepen Define Delete Derive Describe Detach Detect Determine Differentiate
    Disable Discard Dispatch Display Distribute Divide Document Download Drain Draw Drop Dump Embed Emit Empty
    Enable Encode End Ensure Enter Enumerate Escape Estimate Evaluate Evict Exclude Execute Exit Expand Expect
    Explain Explore Export Expose Express Extend Extract Fail Feed Fetch Fill Filter Find Finish Fit Fix Flatten
    Flip Flush Fold Follow Forbid Force Format Freeze Gather Generate Get Give Group Grow Guard Guess Go Halve
    Handle Hash Hide Hold Hook Identify Ignore Import Include Increase Index Infer Initialise Insert Inspect Install
    Interleave Intern Interpolate Interrupt Intersect Invert Iterate Join Judge Keep Label Launch Lay Leave Let
    Limit Line List Listen Load Locate Lock Log Look Lower Make Map Mark Mask Match Materialise Measure Memoise
    Merge Mix Move Multiply Name Narrow Normalise Notify Number Open Order Override Pack Pad Paint Parse Partition
    Pass Patch Pause Perform Perturb Pick Place Plan Plant Play Plot Point Pool Pop Predict Prepare Prepend Preserve
    Print Probe Process Produce Project Prompt Prove Provide Prune Pull Push Put Quantise Quote Raise Reach Read
    Rebuild Receive Recompute Record Recover Reduce Refer Refuse Register Reject Release Reload Remember Remove
    Rename Render Repeat Replace Replay Report Represent Request Require Reset Reshape Resolve Respond Restart
    Restore Restrict Resume Retry Return Reuse Reverse Rewrite Roll Rotate Round Route Run Sample Save Say Scale
    Scan Scatter Schedule Score Search See Seed Select Send Separate Serialise Serve Set Shard Share Shift Show
    Shrink Shuffle Shut Sign Simplify Simulate Skip Slice Snapshot Solve Sort Split Spread Stack Start State Step
    Stop Store Stream Stretch Strip Submit Substitute Subtract Suggest Sum Summarise Suppress Survey Swap Switch
    Synchronise Tabulate Tag Take Tell Temper Terminate Test Tile Time Tokenise Toggle Trace Track Train Transform
    Translate Transpose Traverse Treat Trim Truncate Try Turn Tune Undo Unfold Unite Unpack Unregister Update
    Upgrade Use Validate Verify View Visit Wait Walk Warm Warn Watch Weigh Weight Widen Wrap Write Yield Zero
    """
)

#: Verbs that are also nouns of the field: a class's docstring may begin with them.
ALSO_NOUNS = _words(
    """
    Answer Audit Average Batch Block Bound Break Buffer Cache Call Cast Change Check Chunk Copy Cost Count Cover
    Cross Cut Cycle Deal Document Draw Drop Dump End Estimate Exit Export Extract Filter Fit Fix Fold Force Format
    Group Guard Guess Handle Hash Hold Hook Import Index Interrupt Label Limit Line List Load Lock Log Look Map Mark
    Mask Match Measure Mix Move Name Number Order Override Patch Pause Place Plan Plant Play Plot Point Pool Probe
    Process Project Prompt Quote Reach Record Release Repeat Replay Report Request Reset Return Reverse Roll Round
    Route Run Sample Scale Scan Schedule Score Search Seed Set Shard Share Shift Show Sign Slice Snapshot Split
    Spread Stack Start State Step Stop Store Stream Stretch Strip Sum Survey Switch Tag Test Tile Time Trace Track
    Transform Try Turn Update Upgrade Use View Visit Walk Watch Weight Yield Zero Empty Feed Open Complete Correct
    Narrow Clean Clear Separate Warm
    """
)

#: Words that no noun phrase begins with.
NOT_A_NOUN_PHRASE = _words(
    """
    Whether What Where When Why How Which Who Whose It Its This That These Those They There Here To In On At By For
    From With Without If As Because So Then Be Is Are Has Have Does Do Returns Raises Holds Checks Takes Makes Gives
    Reads Writes
    """
)
