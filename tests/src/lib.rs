//! Scenarios that run in a VM.
