//! The admin page as a program sees it.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod client;
mod json;
mod outage;
mod pages;
mod stream;
mod writes;
