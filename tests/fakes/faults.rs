//! Every call to the outside fails once, or is the last before the process is killed.

use super::machine::Machine;

#[test]
fn calls() {
    let machine = Machine::with_template();
    let run = machine.run();
    run.tpl("build debian13").unwrap();
    for (i, c) in run.calls().iter().enumerate() {
        println!("{i} {c:?}");
    }
    println!("{:?} {:?}", machine.everything(), machine.leftovers());
    let run = machine.run();
    println!("{}", run.tpl("clone -n 2 --ssh-key KEY").unwrap().data);
    for (i, c) in run.calls().iter().enumerate() {
        println!("{i} {c:?}");
    }
}
