use super::*;

fn timing(vm: &str, stage: &str, seconds: f64, outcome: Outcome) -> Timing {
    let (template, started) = ("debian13@20261121-031000".to_owned(), "2026-11-21T03:10:00Z".parse().unwrap());
    Timing { vm: vm.to_owned(), template, stage: stage.to_owned(), seconds, outcome, started, hypervisor: None }
}

fn some() -> Vec<Timing> {
    vec![timing("web1", "disks", 0.25, Outcome::Ok), timing("web2", "wait, \"ssh\"", 61.5, Outcome::Failed)]
}

#[test]
fn both_formats_are_written_and_read_again() {
    let table = [
        (
            Format::JsonLines,
            "{\"vm\":\"web1\",\"template\":\"debian13@20261121-031000\",\"stage\":\"disks\",\"seconds\":0.25,\"outcome\":\"ok\",\
             \"started\":\"2026-11-21T03:10:00Z\"}\n\
             {\"vm\":\"web2\",\"template\":\"debian13@20261121-031000\",\"stage\":\"wait, \\\"ssh\\\"\",\"seconds\":61.5,\
             \"outcome\":\"failed\",\"started\":\"2026-11-21T03:10:00Z\"}\n",
        ),
        (
            Format::Csv,
            "vm,template,stage,seconds,outcome,started\n\
             web1,debian13@20261121-031000,disks,0.250,ok,2026-11-21T03:10:00Z\n\
             web2,debian13@20261121-031000,\"wait, \"\"ssh\"\"\",61.500,failed,2026-11-21T03:10:00Z\n",
        ),
    ];
    for (format, text) in table {
        assert_eq!(write(format, &some()), text);
        assert_eq!(parse("t", text).unwrap(), some());
        assert_eq!(parse("t", &format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap(), some());
        assert_eq!(parse("t", &write(format, &[])).unwrap(), []);
    }
}

#[test]
fn with_several_hypervisors_each_is_named() {
    let there = |hypervisor: &str, timing: Timing| Timing { hypervisor: Some(hypervisor.to_owned()), ..timing };
    let of_two: Vec<Timing> = some().into_iter().zip(["hv1", "hv2"]).map(|(timing, name)| there(name, timing)).collect();
    let text = "vm,template,stage,seconds,outcome,started,hypervisor\n\
                web1,debian13@20261121-031000,disks,0.250,ok,2026-11-21T03:10:00Z,hv1\n\
                web2,debian13@20261121-031000,\"wait, \"\"ssh\"\"\",61.500,failed,2026-11-21T03:10:00Z,hv2\n";
    assert_eq!(write(Format::Csv, &of_two), text);
    let json = write(Format::JsonLines, &of_two);
    assert!(json.lines().all(|line| line.contains(",\"hypervisor\":\"hv")), "{json}");
    for text in [text, &json] {
        assert_eq!(parse("t", text).unwrap(), of_two);
    }
    let short = "vm,template,stage,seconds,outcome,started,hypervisor\na,t,s,1,ok,2026-11-21T03:10:00Z\n";
    let expected = "t:2:1: 6 fields where 7 are expected: vm,template,stage,seconds,outcome,started,hypervisor";
    assert_eq!(parse("t", short).unwrap_err().to_string(), expected);
}

#[test]
fn the_name_of_a_file_says_its_format() {
    let table = [("a.csv", Format::Csv), ("A.CSV", Format::Csv), ("a.jsonl", Format::JsonLines), ("csv", Format::JsonLines)];
    for (file, format) in table {
        assert_eq!(Format::of(file), format, "{file}");
    }
}

#[test]
fn each_fault_has_its_line() {
    let csv = |line: &str| format!("vm,template,stage,seconds,outcome,started\na,t,s,1,ok,2026-11-21T03:10:00Z\n{line}\n");
    let json = |vm: &str, seconds: &str| {
        format!(
            "{{\"vm\":{vm},\"template\":\"t\",\"stage\":\"s\",\"seconds\":{seconds},\"outcome\":\"ok\",\
             \"started\":\"2026-11-21T03:10:00Z\"}}\n"
        )
    };
    let table = [
        (
            "hello".to_owned(),
            "t:1:1: these are no timings: JSON objects are expected, or the heading vm,template,stage,seconds,outcome,started",
        ),
        (csv("a,b"), "t:3:1: 2 fields where 6 are expected: vm,template,stage,seconds,outcome,started"),
        (csv("a,t,s,x,ok,2026-11-21T03:10:00Z"), "t:3:1: \"x\" is no number of seconds"),
        (csv("a,t,s,NaN,ok,2026-11-21T03:10:00Z"), "t:3:1: NaN is no number of seconds"),
        (csv("a,t,s,inf,ok,2026-11-21T03:10:00Z"), "t:3:1: inf is no number of seconds"),
        (csv("a,t,s,-1,ok,2026-11-21T03:10:00Z"), "t:3:1: -1.0 is no number of seconds"),
        (csv("a,t,s,1,good,2026-11-21T03:10:00Z"), "t:3:1: \"good\" is no outcome: there are ok and failed"),
        (csv("a,t,s,1,ok,yesterday"), "t:3:1: \"yesterday\" is no time, as in 2026-11-21T03:10:00Z"),
        (
            csv("a\u{1b}[2J,t,s,1,ok,2026-11-21T03:10:00Z"),
            "t:3:1: \"a\\u{1b}[2J\" is no name of a VM: 1 to 200 characters, none that controls",
        ),
        (csv("\"a"), "t:3:1: a quote is not closed"),
        (
            json("\"a\"", "1") + "\n" + &json("\"\"", "1"),
            "t:3:1: \"\" is no name of a VM: 1 to 200 characters, none that controls",
        ),
        (json("1", "1"), "t:1:7: invalid type: integer `1`, expected a string"),
        (json("\"a\"", "1e99"), "t:1:1: 1e99 is no number of seconds"),
        ("{}".to_owned(), "t:1:2: missing field `vm`"),
        (
            "{\"x\":1}\n{".to_owned(),
            "t:1:4: unknown field `x`, expected one of `vm`, `template`, `stage`, `seconds`, `outcome`, `started`, `hypervisor`\n\
          t:2:1: EOF while parsing an object",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(parse("t", &text).map_err(|invalid| invalid.to_string()), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn many_faults_are_not_all_said() {
    let faults = parse("t", &"{\n".repeat(25)).unwrap_err().to_string();
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!((lines.len(), lines[19], lines[20]), (21, "t:20:1: EOF while parsing an object", "t: and 5 more faults"));
}

#[test]
fn a_summary() {
    let mut timings = vec![
        timing("a", "disks", 1.0, Outcome::Ok),
        timing("a", "wait", 30.0, Outcome::Ok),
        timing("b", "disks", 4.0, Outcome::Ok),
        timing("b", "wait", 10.0, Outcome::Failed),
        timing("c", "disks", 40.0, Outcome::Ok),
    ];
    timings.extend((1..=20).map(|n| timing("d", "copy", f64::from(n) / 10.0, Outcome::Ok)));
    let stage = |stage: &str, count, failed, total, median, p95, max| StageTotal {
        stage: stage.to_owned(),
        count,
        failed,
        total,
        median,
        p95,
        max,
    };
    let slow = |vm: &str, seconds, stage: &str, stage_seconds, failed| Slow {
        vm: vm.to_owned(),
        template: "debian13@20261121-031000".to_owned(),
        seconds,
        stage: stage.to_owned(),
        stage_seconds,
        failed,
    };
    let mut summary = summarise(&timings, 3);
    // The sum of many tenths is not exact.
    summary.stages[2].total = summary.stages[2].total.round();
    summary.slowest[2].seconds = summary.slowest[2].seconds.round();
    let expected = Summary {
        vms: 4,
        stages: vec![
            stage("disks", 3, 0, 45.0, 4.0, 40.0, 40.0),
            stage("wait", 2, 1, 40.0, 20.0, 30.0, 30.0),
            stage("copy", 20, 0, 21.0, 1.05, 1.9, 2.0),
        ],
        slowest: vec![
            slow("c", 40.0, "disks", 40.0, false),
            slow("a", 31.0, "wait", 30.0, false),
            slow("d", 21.0, "copy", 2.0, false),
        ],
    };
    assert_eq!(summary, expected);
    assert_eq!(summarise(&timings, 0).slowest, []);
    assert_eq!(summarise(&[], 10), Summary::default());
    assert_eq!(summarise(&timings, 9).slowest[3], slow("b", 14.0, "wait", 10.0, true));
}
