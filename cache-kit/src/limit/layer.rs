//! A tower layer: refuses with `429 Too Many Requests`, and says in headers how much is left.
//!
//! Headers, on what is allowed too: `RateLimit-Policy: "api";q=100;w=60` and `RateLimit: "api";r=99;t=1`, as the IETF's draft has them
//! (draft-ietf-httpapi-ratelimit-headers, from its version 8 on) with the limiter's name, and `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`
//! (seconds), as its earlier versions had them and many clients read them. On what is refused also `Retry-After` (seconds, RFC 9110).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{Decision, Limiter};

/// Which limit a request is under, and by which key. `None`: under none.
pub type Choice = Option<(Limiter, String)>;

/// Limits requests.
///
/// ```
/// use std::time::Duration;
/// use cache_core::Cache;
/// use cache_kit::{Kit, Quota, layer::LimitLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limiter = Kit::of(&Cache::memory()).limiter("api", Quota::per_minute(100));
/// let layer = LimitLayer::new(move |request: &http::Request<()>| {
///     let user = request.headers().get("x-user")?.to_str().ok()?;
///     Some((limiter.clone(), user.to_owned()))
/// });
/// # drop(layer);
/// # }
/// ```
pub struct LimitLayer<B> {
    choose: Choose<B>,
}

type Choose<B> = Arc<dyn Fn(&Request<B>) -> Choice + Send + Sync>;

impl<B> LimitLayer<B> {
    /// `choose` says which limit a request is under. It must not take a key that a caller can make up as it likes.
    pub fn new(choose: impl Fn(&Request<B>) -> Choice + Send + Sync + 'static) -> Self {
        Self { choose: Arc::new(choose) }
    }
}

impl<B> Clone for LimitLayer<B> {
    fn clone(&self) -> Self {
        Self { choose: Arc::clone(&self.choose) }
    }
}

impl<B> std::fmt::Debug for LimitLayer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimitLayer").finish_non_exhaustive()
    }
}

impl<S, B> Layer<S> for LimitLayer<B> {
    type Service = Limited<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited { inner, choose: Arc::clone(&self.choose) }
    }
}

/// A service behind a limit.
pub struct Limited<S, B> {
    inner: S,
    choose: Choose<B>,
}

impl<S: Clone, B> Clone for Limited<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), choose: Arc::clone(&self.choose) }
    }
}

impl<S, B> std::fmt::Debug for Limited<S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limited").finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for Limited<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<&'static str> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes along, and another stays here.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let choice = (self.choose)(&request);
        Box::pin(async move {
            let Some((limiter, key)) = choice else { return inner.call(request).await };
            let decision = limiter.check(key.as_str()).await;
            let mut response = if decision.is_allowed { inner.call(request).await? } else { refusal() };
            tell(response.headers_mut(), &limiter, &decision);
            Ok(response)
        })
    }
}

fn refusal<R: From<&'static str>>() -> Response<R> {
    let mut response = Response::new(R::from("too many requests\n"));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn tell(headers: &mut HeaderMap, limiter: &Limiter, decision: &Decision) {
    let (name, quota) = (quoted(limiter.name()), limiter.quota());
    let mut say = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    say("ratelimit-policy", format!("{name};q={};w={}", quota.count(), seconds(quota.per())));
    say("ratelimit", format!("{name};r={};t={}", decision.remaining, seconds(decision.reset_after)));
    let mut set = |name: &'static str, value: u64| headers.insert(HeaderName::from_static(name), value.into());
    set("ratelimit-limit", decision.limit.into());
    set("ratelimit-remaining", decision.remaining.into());
    set("ratelimit-reset", seconds(decision.reset_after));
    if !decision.is_allowed {
        headers.insert(RETRY_AFTER, seconds(decision.retry_after).into());
    }
}

/// A text in a structured field (RFC 9651), which has ASCII only.
fn quoted(name: &str) -> String {
    let mut text = String::from("\"");
    for letter in name.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text
}

/// Whole seconds, of which the last one may have begun; as many as a structured field can say.
fn seconds(duration: Duration) -> u64 {
    (duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))).min(999_999_999_999_999)
}

#[cfg(test)]
mod tests {
    use cache_core::Cache;

    use super::*;
    use crate::{Kit, Quota};

    #[test]
    fn times_without_end_fit_into_a_structured_field() {
        assert_eq!(seconds(Duration::MAX), 999_999_999_999_999);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
    }

    #[tokio::test]
    async fn headers_are_those_of_the_draft_and_of_its_earlier_versions() {
        let kit = Kit::of(&Cache::memory());
        let limiter = kit.limiter("a \"b\" \\ ä", Quota::new(2, Duration::from_millis(1_500)));
        let mut headers = HeaderMap::new();
        for _ in 0..3 {
            tell(&mut headers, &limiter, &limiter.check("ada").await);
        }
        let has = |name: &str| headers[name].to_str().expect("it is ASCII").to_owned();
        assert_eq!(has("ratelimit-policy"), r#""a \"b\" \\ ?";q=2;w=2"#);
        assert_eq!(has("ratelimit"), r#""a \"b\" \\ ?";r=0;t=2"#);
        assert_eq!(
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"].map(has),
            ["2", "0", "2", "2"]
        );
    }
}
