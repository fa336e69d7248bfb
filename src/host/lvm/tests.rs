//! Which programs are run for what, and what is left when one of them fails.

use std::{
    io::{Cursor, Write},
    sync::Mutex,
};

use super::*;

/// A row of what `lvs` reports: name, attributes, origin, thin pool, tags, and whether the pool zeroes.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const GOLD: Row = ("gold", "-ri-a-----", "", "", "tpl", "unknown");
const FOREIGN: Row = ("foreign", "-wi-a-----", "", "", "tplx", "unknown");
const SNAPSHOT: Row = ("web9", "swi-a-s---", "gold", "", "tpl", "unknown");
const POOL: Row = ("pool", "twi-a-tz--", "", "", "", "zero");
const THIN: Row = ("thin", "Vri-a-tz--", "", "pool", "tpl", "zero");

/// What ends a call over SSH instead of an exit code.
const CUT: &str = "the connection broke";

/// A hypervisor that remembers what was run. Every volume is 12 MiB large.
struct Host {
    rows: Mutex<Vec<Row>>,
    /// `lvremove` finds nothing that it is to remove.
    spares: bool,
    ran: Mutex<Vec<String>>,
    /// What the program with this beginning says, and how often it fails with it.
    fails: Mutex<(&'static str, &'static str, usize)>,
}

impl Host {
    fn with(rows: &[Row]) -> Self {
        Self { rows: Mutex::new(rows.to_vec()), spares: false, ran: Mutex::default(), fails: Mutex::new(("-", "", 0)) }
    }

    fn failing(self, program: &'static str, says: &'static str, times: usize) -> Self {
        *self.fails.lock().unwrap() = (program, says, times);
        self
    }

    fn lvs(&self) -> String {
        let row = |(name, attr, origin, pool, tags, zero): &Row| {
            let (size, is_pool) = (12 << 20, attr.starts_with('t'));
            let (metadata, metadata_percent) = if is_pool { ("4194304", "25.00") } else { ("", "") };
            let (percent, metadata_percent) = if attr.as_bytes()[4] == b'a' { ("50.00", metadata_percent) } else { ("", "") };
            let origin_size = if origin.is_empty() { String::new() } else { size.to_string() };
            format!(
                r#"{{"lv_name":"{name}","lv_attr":"{attr}","lv_size":"{size}","origin":"{origin}","origin_size":"{origin_size}",
                "pool_lv":"{pool}","data_percent":"{percent}","metadata_percent":"{metadata_percent}","lv_metadata_size":"{metadata}","lv_tags":"{tags}",
                "zero":"{zero}"}}"#
            )
        };
        let rows: Vec<String> = self.rows.lock().unwrap().iter().map(row).collect();
        format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, rows.join(","))
    }

    fn answer(&self, argv: &[&str]) -> Output {
        let line = argv.join(" ");
        let mut fails = self.fails.lock().unwrap();
        let output = |code, stdout: String, stderr: &str| Output { code: Some(code), stdout, stderr: stderr.to_owned() };
        if fails.2 > 0 && line.starts_with(fails.0) {
            fails.2 -= 1;
            self.ran.lock().unwrap().push(format!("{line} !"));
            return output(5, String::new(), fails.1);
        }
        match argv[0] {
            "lvs" => return output(0, self.lvs(), ""),
            "vgs" => {
                return output(
                    0,
                    r#"{"report":[{"vg":[{"vg_size":"100","vg_free":"60","vg_extent_size":"4"}]}]}"#.to_owned(),
                    "",
                );
            }
            "lvremove" if !self.spares => {
                self.rows.lock().unwrap().retain(|row| !line.contains(&format!("lv_name=\"{}\"", row.0)));
            }
            _ => {}
        }
        self.ran.lock().unwrap().push(line);
        output(0, String::new(), "")
    }
}

impl Shell for Host {
    fn run(&self, argv: &[&str], _: Duration) -> Result<Output> {
        let output = self.answer(argv);
        if output.stderr == CUT { bail!(CUT) } else { Ok(output) }
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        Ok(self.answer(&[argv, &["<", &bytes.len().to_string()]].concat()))
    }

    fn read(&self, _: &[&str], _: &mut dyn Write) -> Result<Output> {
        bail!("nothing is read")
    }
}

/// What `work` comes to, and what was run for it besides reading.
fn on<T>(host: &Host, work: impl FnOnce(&LvmPool<'_>) -> Result<T>) -> (Result<T, String>, Vec<String>) {
    let pool = LvmPool { in_use: Duration::from_millis(1500), ..LvmPool::new(host, "p", "vg0", None) };
    let result = work(&pool).map_err(|error| format!("{error:#}"));
    (result, std::mem::take(&mut *host.ran.lock().unwrap()))
}

fn raw(name: &str) -> NewVolume<'_> {
    let capacity = ByteSize::mib(20);
    NewVolume { name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: false }
}

const MAKE: &str = "lvcreate --yes --addtag tpl --setactivationskip n --name web1";
const REMOVE: &str = "lvremove --yes --select lv_name=\"web1\" && lv_tags=tpl && lv_attr!~\"^[oO]\" vg0";

#[test]
fn each_kind_of_work_is_these_programs() {
    let thick = || Host::with(&[GOLD]);
    let thin = || Host::with(&[POOL, THIN]);
    let qcow2 = NewVolume { format: VolumeFormat::Qcow2, backing: Some(("/dev/vg0/b", VolumeFormat::Qcow2)), ..raw("web1") };
    let linked = NewVolume { backing: Some(("/dev/vg0/thin", VolumeFormat::Raw)), ..raw("web1") };
    let made = |arguments: &str| format!("{MAKE} {arguments}");
    let path = || Ok("/dev/vg0/web1".to_owned());

    let (found, ran) = on(&thick(), |pool| pool.create(&raw("web1")));
    let thick_20 = made("--wipesignatures y --zero y --size 20971520b vg0");
    assert_eq!((found, ran), (path(), vec![thick_20.clone(), "blkdiscard --zeroout --offset 0 /dev/vg0/web1".to_owned()]));
    let (found, ran) = on(&thin(), |pool| pool.create(&raw("web1")));
    let thin_20 = made("--thinpool pool --virtualsize 20971520b vg0");
    assert_eq!((found, ran), (path(), vec![thin_20.clone()]));
    let (found, ran) = on(&thick(), |pool| pool.create(&qcow2));
    let header = "qemu-img create -q -f qcow2 -b /dev/vg0/b -F qcow2 /dev/vg0/web1 20971520";
    assert_eq!((found, ran[1..].to_vec()), (path(), vec![header.to_owned()]));
    let (found, ran) = on(&thin(), |pool| pool.create(&linked));
    let grown = "lvextend --size 20971520b vg0/web1";
    assert_eq!((found, ran), (path(), vec![made("--snapshot vg0/thin"), grown.to_owned()]));

    let convert = |zero: &str, name: &str| {
        let source = format!("driver=raw,size=12582912,file.driver=host_device,file.filename=/dev/vg0/{name}");
        format!("qemu-img convert -n --image-opts -O raw -t none -T none{zero} {source} /dev/vg0/web1")
    };
    let (found, ran) = on(&thick(), |pool| pool.copy("gold", &raw("web1")));
    let steps = [thick_20, "blkdiscard --zeroout --offset 12582912 /dev/vg0/web1".to_owned(), convert("", "gold")];
    assert_eq!((found, ran), (path(), steps.to_vec()));
    let (found, ran) = on(&thin(), |pool| pool.copy("thin", &raw("web1")));
    assert_eq!((found, ran), (path(), vec![thin_20, convert(" --target-is-zero", "thin")]));

    let (found, ran) = on(&thick(), |pool| pool.store("web1", 5000, &mut Cursor::new([1; 5000])));
    let steps = [
        made("--wipesignatures y --zero y --size 5120b vg0"),
        "blkdiscard --zeroout --offset 4096 /dev/vg0/web1".to_owned(),
        "dd of=/dev/vg0/web1 bs=1M iflag=fullblock conv=fsync,nocreat,notrunc status=none < 5000".to_owned(),
    ];
    assert_eq!((found, ran), (path(), steps.to_vec()));

    let web = Host::with(&[("web1", "-wi-a-----", "", "", "tpl", "unknown")]);
    assert_eq!(on(&web, |pool| pool.protect("web1")), (Ok(()), vec!["lvchange --permission r vg0/web1".to_owned()]));
    assert_eq!(on(&web, |pool| pool.delete("web1")), (Ok(()), vec![REMOVE.to_owned()]));
    assert_eq!(on(&web, |pool| pool.delete("web2")), (Ok(()), vec![]));
    assert_eq!(on(&thick(), |pool| pool.protect("gold")), (Ok(()), vec![]));
}

#[test]
fn what_cannot_be_filled_is_removed() {
    let table = [
        ("blkdiscard", "creating volume web1 in pool p: blkdiscard: no space", vec![REMOVE]),
        ("lvcreate", "creating volume web1 in pool p: lvcreate: no space", vec![]),
    ];
    for (program, says, left) in table {
        let (error, ran) = on(&Host::with(&[]).failing(program, "no space", 1), |pool| pool.create(&raw("web1")));
        assert_eq!(error, Err(says.to_owned()));
        assert_eq!(ran.iter().filter(|line| line.starts_with("lvremove")).collect::<Vec<_>>(), left);
    }
    let host = || Host::with(&[GOLD]).failing("qemu-img", "I/O error", 1);
    let (error, ran) = on(&host(), |pool| pool.copy("gold", &raw("web1")));
    assert_eq!((error.unwrap_err().as_str(), ran[3].as_str()), ("creating volume web1 in pool p: qemu-img: I/O error", REMOVE));
    for (bytes, says) in [(4999, "1 bytes of it are missing"), (5001, "there is more of it than there was")] {
        let (error, ran) = on(&Host::with(&[]), |pool| pool.store("web1", 5000, &mut Cursor::new(vec![1; bytes])));
        assert_eq!((error, ran[2].as_str()), (Err(format!("creating volume web1 in pool p: {says}")), REMOVE));
    }
}

#[test]
fn what_may_be_there_all_the_same_is_told() {
    let perhaps = "creating volume web1 in pool p: volume web1 may be there all the same: the connection broke";
    let table = [("the connection broke", Some(perhaps)), ("no space", None)];
    for (says, left) in table {
        let host = Host::with(&[]).failing("lvcreate", says, 1);
        let error = LvmPool::new(&host, "p", "vg0", None).create(&raw("web1")).unwrap_err();
        assert_eq!(error.is::<LeftBehind>().then(|| format!("{error:#}")).as_deref(), left, "{says}");
    }
    // A copy that cannot be ended: its volume is in use over there.
    let host = Host::with(&[]).failing("lvremove", "Logical volume vg0/web1 in use.", 99);
    let pool = LvmPool { in_use: Duration::ZERO, ..LvmPool::new(&host, "p", "vg0", None) };
    let error = pool.store("web1", 5000, &mut Cursor::new([1; 4999])).unwrap_err();
    assert!(error.is::<LeftBehind>());
    let says = "volume web1 stays behind: lvremove: Logical volume vg0/web1 in use.: creating volume web1 in pool p: \
                1 bytes of it are missing";
    assert_eq!(format!("{error:#}"), says);
}

#[test]
fn what_is_not_tpls_or_is_stood_on_stays() {
    let host = Host::with(&[GOLD, FOREIGN, SNAPSHOT]);
    let foreign = "vg0/foreign is not tpl's: it does not bear the tag tpl\n`lvchange --addtag tpl vg0/foreign` makes it so";
    let (error, ran) = on(&host, |pool| pool.delete("foreign"));
    assert_eq!((error, ran), (Err(format!("removing volume foreign: {foreign}")), vec![]));
    let (error, ran) = on(&host, |pool| pool.protect("foreign"));
    assert_eq!((error, ran), (Err(foreign.to_owned()), vec![]));
    let (error, ran) = on(&host, |pool| pool.delete("gold"));
    assert_eq!((error, ran), (Err("removing volume gold: snapshots stand on it: web9".to_owned()), vec![]));
}

#[test]
fn what_is_removed_or_closed_needs_no_thin_pool() {
    let web = ("web1", "-wi-a-----", "", "", "tpl", "unknown");
    let second = ("second", "twi-a-tz--", "", "", "", "zero");
    for (rows, choice) in [(vec![web, POOL, second], None), (vec![web], Some("gone"))] {
        let host = Host::with(&rows);
        let pool = LvmPool::new(&host, "p", "vg0", choice.map(|choice| choice.parse().unwrap()));
        assert!(pool.volumes().is_err() && pool.size().is_err() && pool.create(&raw("web2")).is_err());
        pool.protect("web1").unwrap();
        pool.delete("web1").unwrap();
        assert_eq!(*host.ran.lock().unwrap(), ["lvchange --permission r vg0/web1", REMOVE]);
    }
}

#[test]
fn one_in_use_is_waited_for() {
    let rows = [("web1", "-wi-a-----", "", "", "tpl", "unknown")];
    let busy = "  Logical volume vg0/web1 in use.";
    let (found, ran) = on(&Host::with(&rows).failing("lvremove", busy, 1), |pool| pool.delete("web1"));
    assert_eq!((found, ran), (Ok(()), vec![format!("{REMOVE} !"), REMOVE.to_owned()]));
    let (found, ran) = on(&Host::with(&rows).failing("lvremove", busy, 9), |pool| pool.delete("web1"));
    assert_eq!(found, Err("removing volume web1: lvremove: Logical volume vg0/web1 in use.".to_owned()));
    assert!(ran.len() >= 2);
}

#[test]
fn one_that_lvremove_has_left_is_not_gone() {
    let host = Host { spares: true, ..Host::with(&[("web1", "-wi-a-----", "", "", "tpl", "unknown")]) };
    let (found, ran) = on(&host, |pool| pool.delete("web1"));
    let left = "removing volume web1: lvremove has left it: it became somebody else's, or a snapshot was made on it meanwhile";
    assert_eq!((found, ran), (Err(left.to_owned()), vec![REMOVE.to_owned()]));
}

#[test]
fn a_pool_has_what_stands_in_it() {
    let names = |rows: &[Row], choice: &str| {
        let host = Host::with(rows);
        let choice = Some(choice).filter(|choice| *choice != "-").map(|choice| choice.parse().unwrap());
        let pool = LvmPool::new(&host, "p", "vg0", choice);
        let names: Vec<String> = pool.volumes().unwrap().into_iter().map(|volume| volume.name).collect();
        let size = pool.size().unwrap();
        assert_eq!(size.path, "/dev/vg0");
        (names.join(" "), size.capacity.0, size.available.0, size.kind)
    };
    let all = [GOLD, FOREIGN, SNAPSHOT, POOL, THIN];
    let thin = PoolKind::Thin { metadata: ByteSize(4 << 20), metadata_used: ByteSize(1 << 20) };
    assert_eq!(names(&all, "-"), ("thin".to_owned(), 12 << 20, 6 << 20, thin));
    assert_eq!(names(&all, "pool"), ("thin".to_owned(), 12 << 20, 6 << 20, thin));
    assert_eq!(names(&all, ""), ("foreign gold web9".to_owned(), 100, 60, PoolKind::Thick));
    assert_eq!(names(&all[..1], "-"), ("gold".to_owned(), 100, 60, PoolKind::Thick));
    let beside = |rows: &[Row], choice: &str| {
        let host = Host::with(rows);
        let size = LvmPool::new(&host, "p", "vg0", Some(choice.parse().unwrap())).size().unwrap();
        (size.beside.thin_pool, size.beside.shows_old_data, size.beside.names.join(" "))
    };
    let pool = || Some("pool".to_owned());
    assert_eq!(beside(&all, "pool"), (pool(), false, "foreign gold pool web9".to_owned()));
    assert_eq!(beside(&all, ""), (None, false, "pool thin".to_owned()));
    assert_eq!(beside(&[("pool", "twi-a-t---", "", "", "", "")], "pool"), (pool(), true, "pool".to_owned()));
}

#[test]
fn what_lvm2_does_not_let_is_said_with_a_way_out() {
    let rights = Host::with(&[]).failing("lvs", "  /run/lock/lvm/P_global:aux: open failed: Permission denied", 1);
    let (error, _) = on(&rights, |pool| pool.size());
    let says = "listing pool p: lvs: /run/lock/lvm/P_global:aux: open failed: Permission denied\n\
                lvm2 needs root: name the hypervisor by qemu+ssh://root@HOST/system, or run tpl as root there";
    assert_eq!(error, Err(says.to_owned()));
    let dirty = Host::with(&[("pool", "twi-a-t---", "", "", "", ""), THIN]);
    let (error, ran) = on(&dirty, |pool| pool.create(&raw("web1")));
    assert!(error.unwrap_err().ends_with("\n`lvchange --zero y vg0/pool` makes it do so") && ran.is_empty());
    let inactive = || Host::with(&[("pool", "twi---tz--", "", "", "", "zero"), THIN]);
    let says = "thin pool vg0/pool is not active: nobody knows how full it is\n`lvchange --activate y vg0/pool` activates it";
    assert_eq!(on(&inactive(), |pool| pool.size()), (Err(says.to_owned()), vec![]));
    assert_eq!(on(&inactive(), |pool| pool.create(&raw("web1"))), (Err(says.to_owned()), vec![]));
    assert_eq!(on(&inactive(), |pool| pool.volumes().map(|found| found.len())), (Ok(1), vec![]));
    let (error, _) = on(&Host::with(&[GOLD]), |pool| pool.create(&raw("gold")));
    assert_eq!(error, Err("creating volume gold in pool p: volume gold exists already in volume group vg0".to_owned()));
    let (error, _) = on(&Host::with(&[]), |pool| pool.copy("gold", &raw("web1")));
    assert_eq!(error, Err("volume gold does not exist in pool p".to_owned()));
}
