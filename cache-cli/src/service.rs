//! What a process of the service says of itself, on its admin page.

use std::{
    io::{BufRead as _, BufReader},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use ureq::{
    Agent,
    http::{StatusCode, Uri},
};

use crate::Failure;

/// A stream that lasts longer is one of a service that is gone without a word: they end after five minutes.
const LONGEST: Duration = Duration::from_secs(330);

/// The most that is read of one answer.
const LARGEST: u64 = 16 << 20;

/// The admin page of one process.
pub(crate) struct Service {
    base: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

impl Service {
    pub(crate) fn new(url: &str, headers: &[String], timeout: Duration) -> Result<Self, Failure> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::usage(format_args!(
                "`{}` is no URL of a service: http://… or https://… is needed",
                without_password(url)
            )));
        }
        if url.contains(['?', '#']) || url.parse::<Uri>().is_err() {
            return Err(Failure::usage(format_args!(
                "`{}` is not the address of an admin page: http://host/path is needed",
                without_password(url)
            )));
        }
        let headers = headers.iter().filter(|header| !header.is_empty()).map(|header| {
            let (name, value) =
                header.split_once(':').filter(|(name, _)| !name.trim().is_empty()).ok_or_else(|| {
                    // Not the header itself, which may be a secret.
                    Failure::usage("a header is `Name: value`")
                })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let headers = headers.collect::<Result<_, Failure>>()?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), headers, timeout })
    }

    /// One of its reports.
    pub(crate) async fn get(&self, what: &'static str) -> Result<Value, Failure> {
        let agent = Self::agent(self.timeout);
        let request = self.request(&agent, what);
        let (url, base) = (without_password(&self.url(what)), without_password(&self.base));
        let fetched = tokio::task::spawn_blocking(move || {
            let mut response = request.call().map_err(|error| refused(&url, &error))?;
            let parsed = response.body_mut().with_config().limit(LARGEST).read_json();
            parsed
                .map_err(|error| Failure::OutOfReach(format!("{base} does not answer as an admin page does: {error}")))
        });
        fetched.await.expect("reading does not panic")
    }

    /// Its events, one JSON a message, until it ends the stream.
    pub(crate) async fn events(&self) -> Result<mpsc::Receiver<String>, Failure> {
        let agent = Self::agent(LONGEST);
        let request = self.request(&agent, "events");
        let url = without_password(&self.url("events"));
        let (send, receive) = mpsc::channel(256);
        let (opened, result) = oneshot::channel();
        std::thread::spawn(move || {
            let response = match request.header("accept", "text/event-stream").call() {
                Ok(response) => response,
                Err(error) => return drop(opened.send(Err(refused(&url, &error)))),
            };
            drop(opened.send(Ok(())));
            for line in BufReader::new(response.into_body().into_reader()).lines().map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data:") else { continue };
                if send.blocking_send(data.trim_start().to_owned()).is_err() {
                    break;
                }
            }
        });
        let hangs = || Failure::OutOfReach(format!("{} does not answer", without_password(&self.base)));
        timeout(self.timeout, result).await.ok().and_then(Result::ok).unwrap_or_else(|| Err(hangs()))?;
        Ok(receive)
    }

    fn agent(timeout: Duration) -> Agent {
        // A login page in the place of an answer would only confuse, and the headers are for this host alone.
        let config =
            Agent::config_builder().timeout_global(Some(timeout)).max_redirects(0).max_redirects_will_error(false);
        config.http_status_as_error(true).build().into()
    }

    fn request(&self, agent: &Agent, what: &str) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let mut request = agent.get(self.url(what)).header("accept", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    fn url(&self, what: &str) -> String {
        format!("{}/api/{what}", self.base)
    }
}

/// Something else has answered.
pub(crate) fn no_admin_page() -> Failure {
    Failure::OutOfReach("the service does not answer as an admin page does".to_owned())
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://…@{rest}"),
        None => url.to_owned(),
    }
}

fn refused(url: &str, error: &ureq::Error) -> Failure {
    Failure::OutOfReach(match error {
        ureq::Error::StatusCode(401 | 403) => format!("{url} refuses: pass what it asks for by --header"),
        ureq::Error::StatusCode(404) => format!("{url} is not there: is --service the address of the admin page?"),
        ureq::Error::StatusCode(code) => {
            let reason = StatusCode::from_u16(*code).ok().and_then(|code| code.canonical_reason()).unwrap_or_default();
            format!("{url} answers {code} {reason}")
        }
        error => format!("{url}: {error}"),
    })
}
