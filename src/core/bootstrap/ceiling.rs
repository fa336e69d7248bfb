//! The phase `ceiling`: what all guests together may take, kept by the kernel.
//!
//! systemd puts guests below `machine.slice`, and a limit of that slice holds for all of them. Memory that has been moved out to swap is
//! not counted by it: guests may take all swap there is, and beyond that limit they are the first to be stopped.

use super::{
    Facts, Item, Probe, Step, Wish,
    text::{count, plain, some_of, value, values},
};
use crate::core::{error::Refusal, units::ByteSize};

const DROP_IN: &str = "/etc/systemd/system/machine.slice.d/10-tpl-ceiling.conf";

/// So much of a machine may be its guests', in percent.
const SHARE: u64 = 90;

/// What the machine has.
const SIZE: &str = r#"[ ! -d /run/systemd/system ] || echo systemd
echo "cpus $(getconf _NPROCESSORS_ONLN)"
awk '$1 == "MemTotal:" {print "memory", $2}' /proc/meminfo"#;

/// What the kernel enforces. Prints nothing of a slice that is not there: then no guest has run since the machine started.
const LIMITS: &str = r#"top=/sys/fs/cgroup
if [ "$(stat -f -c %T "$top")" = cgroup2fs ]; then
  echo "version 2"
  ! read -r quota period <"$top/machine.slice/cpu.max" || echo "cpu $quota $period"
  ! read -r most <"$top/machine.slice/memory.max" || echo "memory $most"
else
  echo "version 1"
  for folder in "$top/cpu,cpuacct/machine.slice" "$top/cpu/machine.slice"; do
    [ -e "$folder/cpu.cfs_quota_us" ] || continue
    echo "cpu $(cat "$folder/cpu.cfs_quota_us") $(cat "$folder/cpu.cfs_period_us")"
    break
  done
  ! read -r most <"$top/memory/machine.slice/memory.limit_in_bytes" || echo "memory $most"
fi 2>/dev/null"#;

/// Whether the slice is there from the start on: it has no section that says when.
const AT_START: &str = "[ ! -L /etc/systemd/system/multi-user.target.wants/machine.slice ] || echo yes";

/// Guests outside of the slice, which no limit of its reaches: those that were started while systemd-machined was not there.
const OUTSIDE: &str = r#"for folder in /proc/[0-9]*; do
  read -r name <"$folder/comm" || continue
  case $name in qemu-system* | kvm) ;; *) continue ;; esac
  ! grep -q '[:/]machine\.slice/' "$folder/cgroup" || continue
  guest=$(tr '\0' '\n' <"$folder/cmdline" | sed -n '/^-name$/{n;s/^guest=//;s/,.*//;p;q;}')
  echo "guest ${guest:-process ${folder#/proc/}}"
done 2>/dev/null
true"#;

/// A slice that is there already has what its file said when it was made: told again by hand, systemd tells the kernel, a moment later.
/// What it notes down of that, until the machine's next start, would go before the file for as long.
const START: &str = r#"# put the limits in force: percent of a CPU, bytes
systemctl daemon-reload || exit
systemctl -q add-wants multi-user.target machine.slice || exit
systemctl start machine.slice || exit
systemctl set-property --runtime machine.slice "CPUQuota=$1%" "MemoryMax=$2" || exit
rm -f /run/systemd/system.control/machine.slice.d/50-CPUQuota.conf /run/systemd/system.control/machine.slice.d/50-MemoryMax.conf
systemctl daemon-reload || exit
tries=0
while [ "$tries" -lt 25 ]; do
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    read -r quota period <"/sys/fs/cgroup/machine.slice/cpu.max"
    read -r most <"/sys/fs/cgroup/machine.slice/memory.max"
  else
    quota=$(cat /sys/fs/cgroup/cpu/machine.slice/cpu.cfs_quota_us)
    period=$(cat /sys/fs/cgroup/cpu/machine.slice/cpu.cfs_period_us)
    read -r most </sys/fs/cgroup/memory/machine.slice/memory.limit_in_bytes
  fi 2>/dev/null
  case $quota in *[!0-9]* | '') ;; *) [ "$most" != "$2" ] || [ "$((quota * 100 / period))" != "$1" ] || exit 0 ;; esac
  tries=$((tries + 1))
  sleep 0.2
done
systemctl show -p DropInPaths machine.slice >&2
echo "machine.slice has a quota of ${quota:-none} in ${period:-none} microseconds, and $most bytes of memory: another file may say so" >&2
exit 1"#;

/// What the machine is asked.
pub fn probes(_wish: &Wish) -> Vec<Probe> {
    vec![
        Probe::new("ceiling.size", SIZE),
        Probe::file("ceiling.file", DROP_IN),
        Probe::new("ceiling.at-start", AT_START),
        Probe::new("ceiling.limits", LIMITS),
        Probe::new("ceiling.outside", OUTSIDE),
    ]
}

/// What is to be so.
///
/// # Errors
/// None.
pub fn items(facts: &Facts, _wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let size = facts.get("ceiling.size").unwrap_or_default();
    let Some(machine) = Machine::parse(size) else {
        let why = "the machine does not tell how many CPUs and how much memory it has";
        return Ok(vec![Item::unknown("ceiling", why)]);
    };
    if value(size, "systemd").is_none() {
        let why = "this machine was not started by systemd, which is what would keep its guests below a limit";
        return Ok(vec![Item::unknown("ceiling", why)]);
    }
    let limits = facts.get("ceiling.limits").unwrap_or_default();
    let file = facts.whole("ceiling.file");
    let wanted = Ceiling::of(&machine, file);
    let text = wanted.text(&machine, value(limits, "version") == Some("1"));
    let start = Step::script(5, START, &[&wanted.percent.to_string(), &wanted.memory.0.to_string()]);
    let mut items = vec![
        Item::file(DROP_IN, file, 0o644, &text, vec![start.clone()]),
        Item::holds(
            "machine.slice",
            facts.is_yes("ceiling.at-start"),
            "not there before a guest is",
            "there from the start on",
            vec![start.clone()],
        ),
        Item::compare("CPU limit of all guests", Some(&cpu_limit(limits)), &cpus(wanted.percent), vec![start.clone()]),
        Item::compare(
            "memory limit of all guests",
            Some(&memory_limit(limits, wanted.memory)),
            &size_of(wanted.memory),
            vec![start],
        ),
    ];
    items.extend(outside(facts));
    Ok(items)
}

/// What a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    cpus: u64,
    /// In KiB.
    memory: u64,
}

impl Machine {
    fn parse(answer: &str) -> Option<Self> {
        let number = |key: &str| value(answer, key)?.parse::<u64>().ok();
        let machine = Self { cpus: number("cpus")?, memory: number("memory")? };
        // More than any machine has would overflow what is made of it.
        ((1..1 << 20).contains(&machine.cpus) && (2048..1 << 50).contains(&machine.memory)).then_some(machine)
    }
}

/// What its guests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ceiling {
    /// In percent of one CPU.
    percent: u64,
    memory: ByteSize,
}

impl Ceiling {
    /// Of a machine. What is in the file stays where it is nearly the same: each kernel keeps some other MiB for itself, and an update
    /// of it is no drift.
    fn of(machine: &Machine, file: Option<&str>) -> Self {
        let mib = machine.memory * SHARE / 100 / 1024;
        let kept = file
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("MemoryMax=")))
            .and_then(|bytes| bytes.parse::<u64>().ok())
            .filter(|bytes| bytes.is_multiple_of(ByteSize::MIB) && (bytes / ByteSize::MIB).abs_diff(mib) <= mib / 100);
        Self { percent: machine.cpus * SHARE, memory: kept.map_or(ByteSize::mib(mib), ByteSize) }
    }

    /// The drop-in. `MemoryLimit` is what cgroup v1 calls it, and later versions of systemd, without v1, complain of.
    fn text(&self, machine: &Machine, v1: bool) -> String {
        let limit = if v1 { format!("MemoryLimit={}\n", self.memory.0) } else { String::new() };
        format!(
            "# Written by tpl host bootstrap: all guests together take at most {SHARE} % of {} and of the memory.\n\
             # What is in swap is not counted by MemoryMax.\n\
             [Slice]\nCPUAccounting=yes\nCPUQuota={}%\nMemoryAccounting=yes\nMemoryMax={}\n{limit}",
            count(usize::try_from(machine.cpus).unwrap_or(usize::MAX), "CPU"),
            self.percent,
            self.memory.0,
        )
    }
}

fn cpus(percent: u64) -> String {
    format!("{percent} % of a CPU")
}

/// One digit is enough, and a whole number has the same.
fn size_of(memory: ByteSize) -> String {
    memory.to_string()
}

/// What the kernel enforces on CPUs: `max` and -1 are nothing.
fn cpu_limit(limits: &str) -> String {
    let Some((quota, period)) = value(limits, "cpu").and_then(|answer| answer.split_once(' ')) else {
        return "none: machine.slice is not there".to_owned();
    };
    match (quota.parse::<u64>(), period.trim().parse::<u64>()) {
        (Ok(quota), Ok(period)) if period > 0 => match quota.checked_mul(100) {
            Some(quota) => cpus(quota / period),
            None => format!("a quota of {quota} in {period} microseconds"),
        },
        _ if quota == "max" || quota == "-1" => "none".to_owned(),
        _ => plain(&format!("{quota} {period}")),
    }
}

/// What the kernel enforces on memory. Where that is not `wanted` and reads the same, it is told to the byte.
fn memory_limit(limits: &str, wanted: ByteSize) -> String {
    let Some(answer) = value(limits, "memory") else {
        return "none: machine.slice is not there".to_owned();
    };
    match answer.parse::<u64>() {
        Ok(bytes) if bytes == wanted.0 => size_of(wanted),
        // v1 has the largest number of whole pages there for nothing.
        Ok(bytes) if bytes > 1 << 62 => "none".to_owned(),
        Ok(bytes) if size_of(ByteSize(bytes)) == size_of(wanted) => format!("{bytes} bytes"),
        Ok(bytes) => size_of(ByteSize(bytes)),
        Err(_) if answer == "max" => "none".to_owned(),
        Err(_) => plain(answer),
    }
}

/// Guests that the limit does not reach. Only another start of theirs mends it, and that is for the operator to say.
fn outside(facts: &Facts) -> Option<Item> {
    let guests: Vec<&str> = values(facts.get("ceiling.outside")?, "guest").collect();
    (!guests.is_empty()).then(|| {
        let what = count(guests.len(), "guest");
        let why = format!(
            "{what} outside of machine.slice, under no limit: {}\nshut each down and start it again: with the package \
             systemd-container it comes below the limit",
            some_of(&guests)
        );
        Item::unknown("guests below the limit", why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bootstrap::samples::{facts, lines, wish};

    const SIZE_4: &str = "systemd\ncpus 4\nmemory 25066552\n";
    const FILE_4: &str = "# Written by tpl host bootstrap: all guests together take at most 90 % of 4 CPUs and of the memory.\n\
        # What is in swap is not counted by MemoryMax.\n\
        [Slice]\nCPUAccounting=yes\nCPUQuota=360%\nMemoryAccounting=yes\nMemoryMax=23100129280\n";

    fn told(answers: &[(&str, &str)]) -> Vec<String> {
        lines(&items(&facts(answers), &wish("name = 'hv1'")).unwrap())
    }

    #[test]
    fn from_vanilla_to_done() {
        let file = "/etc/systemd/system/machine.slice.d/10-tpl-ceiling.conf";
        let vanilla = told(&[("ceiling.size", SIZE_4), ("ceiling.limits", "version 2\n")]);
        let none = "none: machine.slice is not there";
        assert_eq!(
            vanilla,
            [
                format!("{file}: absent -> as written by tpl"),
                "machine.slice: not there before a guest is -> there from the start on".to_owned(),
                format!("CPU limit of all guests: {none} -> 360 % of a CPU"),
                format!("memory limit of all guests: {none} -> 21.5 GiB"),
            ]
        );
        let done = [
            ("ceiling.size", SIZE_4),
            ("ceiling.file", FILE_4),
            ("ceiling.at-start", "yes\n"),
            ("ceiling.limits", "version 2\ncpu 360000 100000\nmemory 23100129280\n"),
            ("ceiling.outside", ""),
        ];
        let ok = [
            format!("{file}: ok"),
            "machine.slice: ok".to_owned(),
            "CPU limit of all guests: ok".to_owned(),
            "memory limit of all guests: ok".to_owned(),
        ];
        assert_eq!(told(&done), ok);
        // Another kernel has left some other MiB.
        let mut grown = done;
        grown[0].1 = "systemd\ncpus 4\nmemory 25166552\n";
        assert_eq!(told(&grown), ok);
        // Half done: the file is there, and not in force; a guest runs outside.
        let mut half = done;
        half[3].1 = "version 2\ncpu max 100000\nmemory max\n";
        half[4].1 = "guest web1\nguest \u{1b}x\n";
        assert_eq!(
            told(&half)[2..],
            [
                "CPU limit of all guests: none -> 360 % of a CPU",
                "memory limit of all guests: none -> 21.5 GiB",
                "guests below the limit? 2 guests outside of machine.slice, under no limit: web1, ?x\nshut each down and start it again: \
             with the package systemd-container it comes below the limit",
            ]
        );
    }

    #[test]
    fn more_memory_or_cpus_are_drift() {
        for size in ["systemd\ncpus 8\nmemory 25066552\n", "systemd\ncpus 4\nmemory 50066552\n"] {
            let told = told(&[("ceiling.size", size), ("ceiling.file", FILE_4)]);
            assert_eq!(told[0], format!("{DROP_IN}: something else -> as written by tpl"), "{size}");
        }
    }

    #[test]
    fn what_the_kernel_enforces() {
        let wanted = ByteSize::mib(22030);
        let table = [
            ("", "none: machine.slice is not there", "none: machine.slice is not there"),
            ("version 1\ncpu 360000 100000\nmemory 23100129280\n", "360 % of a CPU", "21.5 GiB"),
            ("version 1\ncpu -1 100000\nmemory 9223372036854771712\n", "none", "none"),
            ("version 2\ncpu max 100000\nmemory max\n", "none", "none"),
            ("cpu 180000 50000\nmemory 23100125184\n", "360 % of a CPU", "23100125184 bytes"),
            ("cpu 18446744073709551615 1\nmemory 1073741824\n", "a quota of 18446744073709551615 in 1 microseconds", "1 GiB"),
            ("cpu 1 0\nmemory -5\n", "1 0", "-5"),
            ("cpu \u{1b}[2J x\nmemory \u{7}\n", "?[2J x", "?"),
        ];
        for (limits, cpu, memory) in table {
            assert_eq!((cpu_limit(limits).as_str(), memory_limit(limits, wanted).as_str()), (cpu, memory), "{limits}");
        }
    }

    #[test]
    fn without_systemd_or_an_answer_nothing_is_claimed() {
        let untold = "ceiling? the machine does not tell how many CPUs and how much memory it has";
        let table = [
            (
                "cpus 4\nmemory 25066552\n",
                "ceiling? this machine was not started by systemd, which is what would keep its guests below a limit",
            ),
            ("", untold),
            ("systemd\ncpus 0\nmemory 25066552\n", untold),
            ("systemd\ncpus 4\nmemory 18446744073709551615\n", untold),
            ("systemd\ncpus 99999999999\nmemory 25066552\n", untold),
            ("systemd\ncpus x\nmemory 25066552\n", untold),
        ];
        for (size, expected) in table {
            assert_eq!(told(&[("ceiling.size", size)]), [expected], "{size}");
        }
    }

    #[test]
    fn only_the_first_version_has_the_old_name() {
        let machine = Machine { cpus: 1, memory: 4 << 20 };
        let ceiling = Ceiling::of(&machine, None);
        assert_eq!(ceiling, Ceiling { percent: 90, memory: ByteSize::mib(3686) });
        let text = ceiling.text(&machine, true);
        assert!(text.contains("90 % of 1 CPU and") && text.ends_with("MemoryMax=3865051136\nMemoryLimit=3865051136\n"), "{text}");
        // What is read from a file is a number that was written there, or it is not.
        for file in ["MemoryMax=3865051137\n", "MemoryMax=infinity\n", "MemoryMax=\n", "MemoryMax=99999999999999999999\n"] {
            assert_eq!(Ceiling::of(&machine, Some(file)), ceiling, "{file}");
        }
        assert_eq!(Ceiling::of(&machine, Some("MemoryMax=3864002560\n")).memory, ByteSize::mib(3685));
    }
}
