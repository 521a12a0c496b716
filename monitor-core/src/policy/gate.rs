//! The policy as the exec gate in the kernel knows it: a table of actions and a list of compiled rules.
//!
//! Only rules whose conditions a program in the kernel can look at are compiled. [`lint`](super::rule::lint) refuses
//! policies in which another one stands in front of a denial; what slips through is a problem here, and enforcement
//! does not start with problems.

use super::effective::{Doubt, Effective};
use super::rule::{Accept, Action, Decider, Kind, Rule, Side, Test, observed};
use crate::platform::Tier;
use crate::process::CAPABILITIES;
use hardpan_abi::{
    GATE_RULES_MAX, GateAction, GateClass, GateKind, GateRule, OBJECT_NAME_LEN, OBJECT_NAMES_MAX,
    ObjectClass, WriteClass, gate_test, trusted_mark,
};

/// Marks on digests that rules can use.
const MAX_MARKS: usize = 16;

/// Whether files are gated: by digests that the kernel takes, by those that user space fills in where the policy has
/// fanotify answer for what is missing, or by fanotify alone.
pub fn gates_files(effective: &Effective, tier: Tier) -> bool {
    tier == Tier::A || (matches!(tier, Tier::B | Tier::C) && effective.gate.fanotify_fallback)
}

/// Whether something of this kind is decided by a table for this tier.
const fn is_decided(kind: GateKind, tier: Tier, gates_files: bool) -> bool {
    match tier {
        // Through fanotify alone: nobody is asked about mappings and writes, nor about what is no file.
        Tier::C if gates_files => matches!(kind, GateKind::Exec | GateKind::Script),
        // Without digests every file would look unsigned.
        _ => gates_files || !kind.is_of_files(),
    }
}

/// What the kernel side gets of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GateTable {
    /// [`GateAction`] numbers by kind and class.
    pub actions: [[u8; GateClass::SLOTS]; GateKind::SLOTS],
    /// What cannot be judged is refused.
    pub closed_on_doubt: bool,
    /// The rules, in order.
    pub rules: Vec<GateRule>,
    /// By compiled rule: its index among the policy's rules.
    pub sources: Vec<usize>,
    /// Classes for which some rule may make a difference, as a mask by kind.
    pub ruled: [u32; GateKind::SLOTS],
    /// Kinds for which some rule asks for the class of the running program, as a mask.
    pub asks_subject: u32,
    /// Digests that rules name, with the mark they get.
    pub marks: Vec<([u8; 32], u32)>,
    /// Names of modules and BPF programs that rules name, NUL padded, with the marks they get.
    pub names: Vec<([u8; OBJECT_NAME_LEN], u32)>,
    /// What of the policy the kernel side cannot do. With any, enforcement does not start.
    pub problems: Vec<String>,
}

impl GateTable {
    /// Compiles a policy. `cgroup_id` turns a path into the id the kernel knows it by.
    pub fn new(effective: &Effective, tier: Tier, cgroup_id: &dyn Fn(&str) -> Option<u64>) -> Self {
        let mut table = Self {
            closed_on_doubt: effective.gate.on_doubt == Doubt::Closed,
            ..Self::default()
        };
        let gates_files = gates_files(effective, tier);
        for kind in GateKind::ALL {
            if !is_decided(kind, tier, gates_files) {
                continue;
            }
            for (class, word) in classes(kind) {
                let action = effective
                    .defaults
                    .action(rule_kind(kind), word)
                    .map_or(GateAction::Allow, |(action, _)| gate_action(action));
                set_action(&mut table.actions, kind, class, action);
            }
        }
        for (index, rule) in effective.rules.iter().enumerate() {
            table.add(index, rule, (tier, gates_files), cgroup_id);
        }
        if table.rules.len() > GATE_RULES_MAX as usize {
            table.problems.push(format!(
                "the policy's rules for executions make {} for the kernel, which holds {GATE_RULES_MAX}",
                table.rules.len()
            ));
            table.rules.truncate(GATE_RULES_MAX as usize);
            table.sources.truncate(GATE_RULES_MAX as usize);
        }
        table.leave_out_needless();
        table
    }

    /// Where all that could be said is "allow", the rules are not looked at: what is trusted runs by the thousand.
    fn leave_out_needless(&mut self) {
        for kind in GateKind::ALL {
            let allows = |rule: &GateRule| rule.action == GateAction::Allow as u32;
            let may_refuse = |class: u32| {
                let fits =
                    |rule: &&GateRule| rule.kinds >> (kind as u32) & 1 != 0 && rule.classes >> class & 1 != 0;
                self.action_at(kind, class) != GateAction::Allow
                    || !self.rules.iter().filter(fits).all(allows)
            };
            let mask = (0..u32::BITS)
                .filter(|class| may_refuse(*class))
                .fold(0, |mask, class| mask | 1 << class);
            if let Some(ruled) = self.ruled.get_mut(kind as usize) {
                *ruled &= mask;
            }
        }
    }

    /// What the kernel side does with this kind and class where no rule fits.
    pub fn action(&self, kind: GateKind, class: GateClass) -> GateAction {
        self.action_at(kind, class as u32)
    }

    fn action_at(&self, kind: GateKind, class: u32) -> GateAction {
        self.actions
            .get(kind as usize)
            .and_then(|classes| classes.get(usize::try_from(class).ok()?))
            .and_then(|raw| GateAction::from_u8(*raw))
            .unwrap_or(GateAction::Allow)
    }

    /// What is done with content of which only class and marks are known: rules about who runs it do not count.
    pub fn action_of_content(&self, kind: GateKind, class: GateClass, marks: u32) -> GateAction {
        let fits = |rule: &&GateRule| {
            let about_content = rule.tests == 0
                || (rule.tests == gate_test::MARK && rule.negated == 0 && marks & rule.marks != 0);
            about_content && rule.kinds >> (kind as u32) & 1 != 0 && rule.classes >> (class as u32) & 1 != 0
        };
        let rule = self.rules.iter().find(fits);
        rule.and_then(|rule| u8::try_from(rule.action).ok().and_then(GateAction::from_u8))
            .unwrap_or_else(|| self.action(kind, class))
    }

    /// The same without anything about files: what they are is not known yet.
    #[must_use]
    pub fn without_files(&self) -> Self {
        let mut table = self.clone();
        for kind in GateKind::ALL.into_iter().filter(|kind| kind.is_of_files()) {
            if let Some(actions) = table.actions.get_mut(kind as usize) {
                *actions = [GateAction::Allow as u8; GateClass::SLOTS];
            }
            if let Some(ruled) = table.ruled.get_mut(kind as usize) {
                *ruled = 0;
            }
        }
        table
    }

    fn add(
        &mut self,
        index: usize,
        rule: &Rule,
        (tier, gates_files): (Tier, bool),
        cgroup_id: &dyn Fn(&str) -> Option<u64>,
    ) {
        let kinds: Vec<GateKind> = GateKind::ALL
            .into_iter()
            .filter(|kind| rule.on.contains(&rule_kind(*kind)))
            .filter(|kind| is_decided(*kind, tier, gates_files))
            .collect();
        for kind in kinds {
            let action = rule.action_before(rule_kind(kind), tier, gates_files);
            let Some(classes) = classes_of(kind, rule) else {
                continue;
            };
            let base = GateRule {
                kinds: 1 << (kind as u32),
                classes,
                action: gate_action(action) as u32,
                ids: [[0, u32::MAX]; 4],
                inode: [0, i64::MAX.cast_unsigned()],
                ..GateRule::default()
            };
            match self.compile(base, kind, rule, tier, cgroup_id) {
                Ok(compiled) => {
                    if compiled.iter().any(|rule| rule.tests & gate_test::SUBJECT != 0) {
                        self.asks_subject |= 1 << (kind as u32);
                    }
                    if let Some(mask) = self.ruled.get_mut(kind as usize) {
                        *mask |= classes;
                    }
                    self.sources.extend(compiled.iter().map(|_| index));
                    self.rules.extend(compiled);
                }
                // A rule that could only allow or alert, and that no denial comes after, changes nothing there. One that
                // kills is carried out by the daemon, and a denial behind it is only stronger.
                Err(_) if action == Action::Kill => {}
                Err(_) if action <= Action::Alert && !self.could_deny(kind, classes) => {}
                Err(why) => self
                    .problems
                    .push(format!("rule {:?} ({}): {why}", rule.name, rule.origin)),
            }
        }
    }

    fn could_deny(&self, kind: GateKind, classes: u32) -> bool {
        (0..u32::BITS)
            .filter(|class| classes >> class & 1 != 0)
            .any(|class| self.action_at(kind, class) >= GateAction::Deny)
    }

    /// One rule may become several: a condition with several ranges or values is one for each.
    fn compile(
        &mut self,
        base: GateRule,
        kind: GateKind,
        rule: &Rule,
        tier: Tier,
        cgroup_id: &dyn Fn(&str) -> Option<u64>,
    ) -> Result<Vec<GateRule>, String> {
        let mut compiled = vec![base];
        for test in &rule.tests {
            let name = test.attribute.name;
            if test.attribute.side == Side::Object && name == "class" {
                continue;
            }
            let variants = self.variants(test, kind, tier, cgroup_id)?;
            compiled = compiled
                .iter()
                .flat_map(|rule| variants.iter().map(move |variant| variant.apply(*rule)))
                .collect();
            if compiled.len() > GATE_RULES_MAX as usize {
                return Err(format!(
                    "its conditions on {name} make too many rules for the kernel"
                ));
            }
        }
        Ok(compiled)
    }

    fn variants(
        &mut self,
        test: &Test,
        kind: GateKind,
        tier: Tier,
        cgroup_id: &dyn Fn(&str) -> Option<u64>,
    ) -> Result<Vec<Variant>, String> {
        let name = test.attribute.name;
        let subject = test.attribute.side == Side::Subject;
        let unable = || {
            format!(
                "the kernel side cannot look at {}.{name}",
                test.attribute.side.name()
            )
        };
        let ids = |bit: u32, slot: usize| {
            Ok(id_ranges(test)
                .map_err(|why| format!("{name}: {why}"))?
                .into_iter()
                .map(|range| Variant::new(bit, false, Value::Id(slot, range)))
                .collect())
        };
        match (subject, name) {
            (true, "uid") => ids(gate_test::UID, 0),
            (true, "gid") => ids(gate_test::GID, 1),
            (true, "loginuid") => ids(gate_test::LOGINUID, 2),
            // The owner of a file, or of the process that is taken hold of.
            (false, "owner" | "uid") => ids(gate_test::OWNER, 3),
            (true, "class") if test.attribute.decider(tier, rule_kind(kind)) == Decider::Kernel => {
                let words = texts(test);
                let mask = GateClass::ALL
                    .into_iter()
                    .filter(|class| {
                        class_word(*class).is_some_and(|word| words.iter().any(|one| one == word))
                    })
                    .fold(0, |mask, class| mask | 1 << (class as u32));
                // What nobody can tell fits neither a condition nor its opposite.
                let mask = mask | u32::from(test.negated) << (GateClass::Unknown as u32);
                Ok(vec![Variant::new(
                    gate_test::SUBJECT,
                    test.negated,
                    Value::Subjects(mask),
                )])
            }
            (false, "program_type") => {
                let mask = texts(test)
                    .iter()
                    .filter_map(|text| bpf_program_type(text))
                    .fold(0, |mask, number| mask | 1 << number);
                Ok(vec![Variant::new(
                    gate_test::PROGRAM_TYPE,
                    test.negated,
                    Value::ProgramTypes(mask),
                )])
            }
            (false, "name") => {
                let mark = self.mark_names(texts(test))?;
                Ok(vec![Variant::new(
                    gate_test::MARK,
                    test.negated,
                    Value::Mark(mark),
                )])
            }
            (false, "inode") => Ok(wide_ranges(test)
                .into_iter()
                .map(|range| Variant::new(gate_test::INODE, false, Value::Inode(range)))
                .collect()),
            (true, "container") => flag(test, gate_test::CONTAINER).ok_or_else(unable),
            (false, "setid") => flag(test, gate_test::SETID).ok_or_else(unable),
            (true, "capabilities") => {
                let mask = texts(test)
                    .iter()
                    .filter_map(|text| CAPABILITIES.iter().position(|known| known == text));
                let mask = mask.fold(0u64, |mask, bit| mask | 1 << bit);
                Ok(vec![Variant::new(
                    gate_test::CAPABILITIES,
                    test.negated,
                    Value::Capabilities(mask),
                )])
            }
            (false, "digest") => {
                let digests = texts(test).iter().filter_map(|text| {
                    let mut digest = [0; 32];
                    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
                });
                let mark = self.mark(&digests.collect::<Vec<_>>())?;
                Ok(vec![Variant::new(
                    gate_test::MARK,
                    test.negated,
                    Value::Mark(mark),
                )])
            }
            (true, "cgroup") => several(test, name, gate_test::CGROUP, |text| {
                cgroup_id(text)
                    .map(Value::Cgroup)
                    .ok_or_else(|| format!("there is no cgroup {text}"))
            }),
            (false, "device") => several(test, name, gate_test::DEVICE, |text| {
                device(text)
                    .map(Value::Device)
                    .ok_or_else(|| format!("{text} is no device"))
            }),
            (false, "filesystem") => several(test, name, gate_test::FILESYSTEM, |text| {
                observed::filesystem_magic(text)
                    .map(Value::Filesystem)
                    .ok_or_else(|| format!("no magic number is known for the file system {text}"))
            }),
            _ => Err(unable()),
        }
    }

    fn mark(&mut self, digests: &[[u8; 32]]) -> Result<u32, String> {
        let used = self.marks.iter().fold(0, |all, (_, mark)| all | mark);
        let free = free_mark(used).ok_or_else(|| format!("more than {MAX_MARKS} rules name digests"))?;
        self.marks.extend(digests.iter().map(|digest| (*digest, free)));
        Ok(free)
    }

    fn mark_names(&mut self, names: &[String]) -> Result<u32, String> {
        let used = self.names.iter().fold(0, |all, (_, mark)| all | mark);
        let free =
            free_mark(used).ok_or_else(|| format!("more than {MAX_MARKS} rules name modules or programs"))?;
        for name in names {
            let key =
                object_name(name).ok_or_else(|| format!("{name:?} is too long for a name in the kernel"))?;
            match self.names.iter_mut().find(|(known, _)| *known == key) {
                Some((_, marks)) => *marks |= free,
                None => self.names.push((key, free)),
            }
        }
        if self.names.len() > OBJECT_NAMES_MAX as usize {
            return Err(format!("more than {OBJECT_NAMES_MAX} names"));
        }
        Ok(free)
    }
}

fn free_mark(used: u32) -> Option<u32> {
    (0..MAX_MARKS)
        .map(|bit| 1 << (trusted_mark::RULES_FROM as usize + bit))
        .find(|mark| used & mark == 0)
}

/// A module's name as the kernel has it: hyphens are underscores there, whatever the file is called.
fn object_name(name: &str) -> Option<[u8; OBJECT_NAME_LEN]> {
    let mut key = [0; OBJECT_NAME_LEN];
    let bytes = name.as_bytes();
    // The last byte stays NUL.
    key.get_mut(..OBJECT_NAME_LEN - 1)?
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    for byte in &mut key {
        if *byte == b'-' {
            *byte = b'_';
        }
    }
    Some(key)
}

/// Types of BPF programs in the order of `enum bpf_prog_type` (include/uapi/linux/bpf.h), without `BPF_PROG_TYPE_`.
const BPF_PROGRAM_TYPES: [&str; 33] = [
    "unspec",
    "socket_filter",
    "kprobe",
    "sched_cls",
    "sched_act",
    "tracepoint",
    "xdp",
    "perf_event",
    "cgroup_skb",
    "cgroup_sock",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sock_ops",
    "sk_skb",
    "cgroup_device",
    "sk_msg",
    "raw_tracepoint",
    "cgroup_sock_addr",
    "lwt_seg6local",
    "lirc_mode2",
    "sk_reuseport",
    "flow_dissector",
    "cgroup_sysctl",
    "raw_tracepoint_writable",
    "cgroup_sockopt",
    "tracing",
    "struct_ops",
    "ext",
    "lsm",
    "sk_lookup",
    "syscall",
    "netfilter",
];

/// Number of a type of BPF program.
pub fn bpf_program_type(name: &str) -> Option<usize> {
    BPF_PROGRAM_TYPES.iter().position(|known| *known == name)
}

/// Type of a BPF program from its number.
pub fn bpf_program_type_name(number: u32) -> Option<&'static str> {
    BPF_PROGRAM_TYPES.get(usize::try_from(number).ok()?).copied()
}

/// A value that a condition is compared with.
#[derive(Debug, Clone, Copy)]
enum Value {
    Id(usize, [u32; 2]),
    Inode([u64; 2]),
    Flag,
    Capabilities(u64),
    Mark(u32),
    Cgroup(u64),
    Device(u32),
    Filesystem(u64),
    Subjects(u32),
    ProgramTypes(u64),
}

/// One way in which a condition can hold.
#[derive(Debug, Clone, Copy)]
struct Variant {
    bit: u32,
    negated: bool,
    value: Value,
}

impl Variant {
    const fn new(bit: u32, negated: bool, value: Value) -> Self {
        Self { bit, negated, value }
    }

    fn apply(&self, mut rule: GateRule) -> GateRule {
        rule.tests |= self.bit;
        if self.negated {
            rule.negated |= self.bit;
        }
        match self.value {
            Value::Id(slot, range) => {
                if let Some(ids) = rule.ids.get_mut(slot) {
                    *ids = range;
                }
            }
            Value::Inode(range) => rule.inode = range,
            Value::Flag => {}
            Value::Capabilities(mask) => rule.capabilities = mask,
            Value::Mark(mark) => rule.marks = mark,
            Value::Cgroup(id) => rule.cgroup = id,
            Value::Device(device) => rule.device = device,
            Value::Filesystem(magic) => rule.filesystem = magic,
            Value::Subjects(classes) => rule.subjects = classes,
            Value::ProgramTypes(types) => rule.program_types = types,
        }
        rule
    }
}

/// The kind as rules name it.
const fn rule_kind(kind: GateKind) -> Kind {
    match kind {
        GateKind::Exec => Kind::Exec,
        GateKind::Library => Kind::Library,
        GateKind::Script => Kind::Script,
        GateKind::WriteRunning | GateKind::Write => Kind::FileWrite,
        GateKind::Module => Kind::Module,
        GateKind::Bpf => Kind::Bpf,
        GateKind::Ptrace => Kind::Ptrace,
    }
}

/// Classes of a kind: numbers of the kernel side, and the words by which policies know them.
fn classes(kind: GateKind) -> Vec<(u32, &'static str)> {
    if kind == GateKind::WriteRunning {
        return GateClass::ALL.map(|class| (class as u32, "running")).to_vec();
    }
    if kind == GateKind::Write {
        return WriteClass::ALL
            .map(|class| (class as u32, write_class_word(class)))
            .to_vec();
    }
    if kind.is_of_files() {
        let word = |class| class_word(class).map(|word| (class as u32, word));
        return GateClass::ALL.into_iter().filter_map(word).collect();
    }
    ObjectClass::ALL
        .into_iter()
        .map(|class| (class as u32, object_class_word(class)))
        .filter(|(_, word)| rule_kind(kind).classes().contains(word))
        .collect()
}

/// The class as rules name it.
pub const fn write_class_word(class: WriteClass) -> &'static str {
    match class {
        WriteClass::Packaged => "packaged",
        WriteClass::Protected => "protected",
        WriteClass::Replaced => "replaced",
        WriteClass::BlockDevice => "block-device",
    }
}

/// The class as rules name it.
pub const fn object_class_word(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Signed => "signed",
        ObjectClass::Unsigned => "unsigned",
        ObjectClass::UntrustedLoader => "untrusted-loader",
        ObjectClass::TrustedLoader => "trusted-loader",
        ObjectClass::SameUser => "same-user",
        ObjectClass::OtherUser => "other-user",
        ObjectClass::TrustedDaemon => "trusted-daemon",
    }
}

/// The class as rules name it.
pub const fn class_word(class: GateClass) -> Option<&'static str> {
    Some(match class {
        GateClass::Unknown => return None,
        GateClass::Trusted => "trusted",
        GateClass::Local => "local",
        GateClass::Provisional => "provisional",
        GateClass::Retired => "retired",
        GateClass::ConfigModified => "config-modified",
        GateClass::Container => "container",
        GateClass::Untrusted => "untrusted",
        GateClass::Fileless => "fileless",
        GateClass::Mismatch => "mismatch",
    })
}

/// The action as the kernel side knows it.
pub const fn gate_action(action: Action) -> GateAction {
    match action {
        Action::Allow => GateAction::Allow,
        Action::Alert => GateAction::Alert,
        Action::Deny => GateAction::Deny,
        Action::Kill => GateAction::Kill,
    }
}

fn set_action(
    actions: &mut [[u8; GateClass::SLOTS]; GateKind::SLOTS],
    kind: GateKind,
    class: u32,
    action: GateAction,
) {
    if let Some(slot) = actions
        .get_mut(kind as usize)
        .and_then(|classes| classes.get_mut(usize::try_from(class).ok()?))
    {
        *slot = action as u8;
    }
}

/// Classes that the rule's condition on the object's class leaves, as a mask; `None` if it fits none.
fn classes_of(kind: GateKind, rule: &Rule) -> Option<u32> {
    let test = rule
        .tests
        .iter()
        .find(|test| test.attribute.side == Side::Object && test.attribute.name == "class");
    let fits =
        |word: &str| test.is_none_or(|test| texts(test).iter().any(|text| text == word) != test.negated);
    let mask = classes(kind)
        .into_iter()
        .filter(|(_, word)| fits(word))
        .fold(0, |mask, (class, _)| mask | 1 << class);
    (mask != 0).then_some(mask)
}

fn texts(test: &Test) -> &[String] {
    match &test.accept {
        Accept::Texts(texts) => texts,
        _ => &[],
    }
}

fn flag(test: &Test, bit: u32) -> Option<Vec<Variant>> {
    let Accept::Flag(wanted) = test.accept else {
        return None;
    };
    Some(vec![Variant::new(bit, wanted == test.negated, Value::Flag)])
}

fn several(
    test: &Test,
    name: &str,
    bit: u32,
    value: impl Fn(&str) -> Result<Value, String>,
) -> Result<Vec<Variant>, String> {
    let texts = texts(test);
    if test.negated && texts.len() > 1 {
        return Err(format!(
            "\"not in\" with several values of {name} cannot be said to the kernel"
        ));
    }
    texts
        .iter()
        .map(|text| value(text).map(|value| Variant::new(bit, test.negated, value)))
        .collect()
}

/// The ranges in which the condition holds, whichever way it was written.
fn wide_ranges(test: &Test) -> Vec<[u64; 2]> {
    let Accept::Ids(ranges) = &test.accept else {
        return Vec::new();
    };
    let max = i64::MAX.cast_unsigned();
    let mut sorted: Vec<[u64; 2]> = ranges
        .iter()
        .map(|(low, high)| [*low, (*high).min(max)])
        .collect();
    if !test.negated {
        return sorted;
    }
    sorted.sort_unstable();
    let mut rest = Vec::new();
    let mut from = 0;
    for [low, high] in sorted {
        if low > from {
            rest.push([from, low - 1]);
        }
        from = from.max(high.saturating_add(1));
    }
    if from <= max {
        rest.push([from, max]);
    }
    rest
}

fn id_ranges(test: &Test) -> Result<Vec<[u32; 2]>, String> {
    let cut = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    let ranges: Vec<[u32; 2]> = wide_ranges(test)
        .into_iter()
        .filter(|[low, _]| u32::try_from(*low).is_ok())
        .map(|[low, high]| [cut(low), cut(high)])
        .collect();
    if ranges.is_empty() {
        return Err("no number fits".to_owned());
    }
    Ok(ranges)
}

fn device(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    (major < 1 << 12 && minor < 1 << 20).then_some(major << 20 | minor)
}
