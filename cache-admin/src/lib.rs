//! The admin page of a staleproof cache: an axum router that a service mounts wherever it likes.
//!
//! ```
//! use axum::Router;
//! use cache_admin::{Admin, token};
//! use cache_core::Cache;
//!
//! let admin = Admin::new(Cache::memory())
//!     .authorize_reads(token("let me look"))
//!     .authorize_writes(token("let me invalidate"))
//!     .build()?;
//! let app: Router = Router::new().nest("/admin/cache", admin);
//! # Ok::<(), cache_admin::BuildError>(())
//! ```
//!
//! # What stands in front of it
//!
//! - Nothing is answered without the authorisation that the host passes in, not even that a page does not exist. A router without one is not built.
//! - Invalidating asks a second authorisation, and a form has to have been made by this page for this browser (see `docs/OPERATIONS.md`).
//! - Pages are made on the server, load nothing from elsewhere, and run under a strict content security policy. What is in keys and values is
//!   text. Without scripts all works but the events.
//!
//! Every page has its twin as JSON, below `api/`; its structs are those of this crate.

#![allow(clippy::cast_precision_loss, reason = "numbers for people and charts need no 64 bits")]

mod access;
mod admin;
mod aim;
mod api;
mod assets;
mod chart;
mod drawing;
mod events;
mod forgery;
mod functions;
mod history;
mod keys;
mod pages;
mod routes;
mod secret;
mod state;
mod text;

pub use access::{Unauthorized, Verdict, token};
pub use admin::{Admin, BuildError};
pub use api::{HealthReport, Invalidated, MapReport, Overview, StatsReport};
pub use events::EventReport;
pub use functions::{Entries, FunctionRow};
pub use history::Interval;
pub use keys::{EntryReport, PreviewReport, ValueState};
