//! LVM's own rules, as far as tpl must know them before it asks lvm2.

pub mod name;
