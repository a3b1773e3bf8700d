//! A span for each round trip, with the names of OpenTelemetry's conventions for databases. What makes its fields runs only if
//! somebody collects it.

use std::borrow::Cow;

use redis::{Arg, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tracing::Span;

use crate::{call_error::CallError, script::SCRIPTS};

/// Of one command.
pub(crate) fn of_command(server: &ConnectionInfo, command: &Cmd) -> Span {
    tracing::debug_span!(
        "redis",
        otel.name = &*operation(command),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        db.system.name = "redis",
        db.namespace = server.redis_settings().db(),
        db.operation.name = &*operation(command),
        db.stored_procedure.name = script(command),
        db.response.status_code = tracing::field::Empty,
        server.address = &*address(server),
        server.port = port(server),
        error.type = tracing::field::Empty,
    )
}

/// Of commands that leave together.
pub(crate) fn of_pipeline(server: &ConnectionInfo, commands: &Pipeline) -> Span {
    let mut all = commands.cmd_iter();
    if let (Some(command), None) = (all.next(), all.next()) {
        return of_command(server, command);
    }
    tracing::debug_span!(
        "redis",
        otel.name = &*operation_of_all(commands),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        db.system.name = "redis",
        db.namespace = server.redis_settings().db(),
        db.operation.name = &*operation_of_all(commands),
        db.operation.batch.size = commands.len(),
        db.response.status_code = tracing::field::Empty,
        server.address = &*address(server),
        server.port = port(server),
        error.type = tracing::field::Empty,
    )
}

/// Of a read that waits for the answer to a command which it shares with others.
pub(crate) fn of_shared_read() -> Span {
    tracing::debug_span!(
        "shared read",
        otel.kind = "internal",
        otel.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

/// The call had no result.
pub(crate) fn failed(span: &Span, error: &CallError) {
    if span.is_disabled() {
        return;
    }
    note(span, &error.kind());
}

/// The server has answered; with an error, perhaps.
pub(crate) fn answered(span: &Span, reply: &impl Reply) {
    if span.is_disabled() {
        return;
    }
    if let Some(code) = reply.error() {
        span.record("db.response.status_code", code);
        note(span, code);
    }
}

fn note(span: &Span, error: &str) {
    span.record("error.type", error);
    span.record("otel.status_code", "ERROR");
}

/// What a server answers.
pub(crate) trait Reply {
    /// The error's code, if it is one.
    fn error(&self) -> Option<&str>;
}

impl Reply for Value {
    fn error(&self) -> Option<&str> {
        match self {
            Self::ServerError(error) => Some(error.code()),
            _ => None,
        }
    }
}

impl Reply for Vec<Value> {
    fn error(&self) -> Option<&str> {
        self.iter().find_map(Reply::error)
    }
}

impl Reply for () {
    fn error(&self) -> Option<&str> {
        None
    }
}

fn operation(command: &Cmd) -> Cow<'_, str> {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name),
        _ => Cow::Borrowed(""),
    }
}

fn operation_of_all(commands: &Pipeline) -> String {
    let mut names = commands.cmd_iter().map(operation);
    match names.next() {
        Some(first) if names.all(|name| name == first) => format!("PIPELINE {first}"),
        _ => "PIPELINE".to_owned(),
    }
}

fn script(command: &Cmd) -> Option<&'static str> {
    let mut arguments = command.args_iter();
    match (arguments.next(), arguments.next()) {
        (Some(Arg::Simple(b"EVALSHA")), Some(Arg::Simple(digest))) => SCRIPTS.name_of(digest),
        _ => None,
    }
}

fn address(server: &ConnectionInfo) -> Cow<'_, str> {
    match server.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Cow::Borrowed(host),
        addr => Cow::Owned(addr.to_string()),
    }
}

fn port(server: &ConnectionInfo) -> Option<u16> {
    match server.addr() {
        ConnectionAddr::Tcp(_, port) | ConnectionAddr::TcpTls { port, .. } => Some(*port),
        _ => None,
    }
}
