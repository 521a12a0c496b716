//! Nothing: the programs are the binary (`main.rs`).
#![no_std]
