//! The init of the virtual machine: process 1.

fn main() {
    hardpan_tests::guest::init();
}
