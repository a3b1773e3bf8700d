//! What pages' forms ask for. Each leads back to a page.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use staffing::{Day, model::NewSlot, users::UserInfo};

use super::{frame::Frame, page};
use crate::web::{
    actions,
    app::App,
    dialogue::{self, Step},
    fields::{At, Posted, number, optional_text, user_info},
    login, payments,
    refusal::{Answer, Refusal},
    session::{self, Who},
};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    /// Empty: nobody has said who they are.
    login: String,
    says: String,
}

#[derive(Deserialize)]
pub(super) struct Code {
    login: String,
}

#[derive(Deserialize)]
pub(super) struct Login {
    login: String,
    code: String,
}

pub(super) async fn login(State(app): State<App>) -> Answer<Response> {
    page(&LoginPage { frame: Frame::empty(&app).await, login: String::new(), says: String::new() })
}

pub(super) async fn send_code(State(app): State<App>, Posted(asked): Posted<Code>) -> Answer<Response> {
    let login = asked.login.trim().to_owned();
    login::send_code(&app, &login).await?;
    page(&LoginPage { frame: Frame::empty(&app).await, login, says: String::new() })
}

pub(super) async fn log_in(State(app): State<App>, Posted(asked): Posted<Login>) -> Answer<Response> {
    match login::log_in(&app, &asked.login, &asked.code).await {
        Ok(cookie) => Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to("/home")).into_response()),
        Err(Refusal { status: StatusCode::UNAUTHORIZED, says }) => {
            let shown = page(&LoginPage { frame: Frame::empty(&app).await, login: asked.login, says })?;
            Ok((StatusCode::UNAUTHORIZED, shown).into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn log_out(State(app): State<App>, who: Who) -> Answer<Response> {
    let cookie = session::end(&app, &who).await?;
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Redirect::to("/login")).into_response())
}

pub(super) async fn set_me(State(app): State<App>, who: Who, Posted(sent): Posted<UserInfo>) -> Answer<Redirect> {
    app.staffing().users.set_info(who.role, who.id, user_info(&sent)?).await?;
    Ok(Redirect::to("/home"))
}

/// A step as a form sends it: all fields are text.
#[derive(Deserialize)]
pub(super) struct Said {
    step: String,
    object_id: Option<i64>,
    name: Option<String>,
    trade: Option<String>,
    starts_on: Option<Day>,
    hourly_cents: Option<i64>,
}

impl Said {
    fn step(self) -> Option<Step> {
        Some(match &*self.step {
            "object" => Step::Object { object_id: self.object_id? },
            "person" => Step::Person { name: self.name?, trade: self.trade? },
            "terms" => Step::Terms { starts_on: self.starts_on?, hourly_cents: self.hourly_cents? },
            "back" => Step::Back,
            "discard" => Step::Discard,
            _ => return None,
        })
    }
}

pub(super) async fn say(State(app): State<App>, who: Who, Posted(said): Posted<Said>) -> Answer<Redirect> {
    let step = said.step().ok_or_else(|| Refusal::invalid("this says nothing that was asked"))?;
    dialogue::say(&app, &who, step).await?;
    Ok(Redirect::to("/contracts/new"))
}

pub(super) async fn finish(State(app): State<App>, who: Who) -> Answer<Redirect> {
    dialogue::finish(&app, &who).await?;
    Ok(Redirect::to("/employees"))
}

#[derive(Deserialize)]
pub(super) struct Slot {
    day: Day,
    starts: String,
    ends: String,
    capacity: i64,
}

/// Minutes since midnight of `06:30`.
fn minutes(time: &str) -> Answer<i64> {
    let parsed = time.split_once(':').and_then(|(hours, minutes)| Some((hours.parse().ok()?, minutes.parse().ok()?)));
    let (hours, minutes): (i64, i64) = parsed.ok_or_else(|| Refusal::invalid("a time is written like 06:30"))?;
    let minutes = number("hours", hours, 0..=24)? * 60 + number("minutes", minutes, 0..=59)?;
    if minutes > 24 * 60 {
        return Err(Refusal::invalid("a day ends at 24:00"));
    }
    Ok(minutes)
}

pub(super) async fn open_slot(
    State(app): State<App>,
    who: Who,
    At(object_id): At<i64>,
    Posted(slot): Posted<Slot>,
) -> Answer<Redirect> {
    let (starts, ends) = (minutes(&slot.starts)?, minutes(&slot.ends)?);
    let capacity = number("capacity", slot.capacity, 1..=100)?;
    let new = NewSlot { object_id, day: slot.day, starts, ends, capacity };
    actions::open_slot(&app, &who, new).await?;
    Ok(back_to(object_id, slot.day))
}

#[derive(Deserialize)]
pub(super) struct Booking {
    object: i64,
    from: Day,
    slot_id: i64,
    employee_id: i64,
}

#[derive(Deserialize)]
pub(super) struct Cancelling {
    object: i64,
    from: Day,
    shift: i64,
}

fn back_to(object: i64, from: Day) -> Redirect {
    Redirect::to(&format!("/calendar/{object}?from={from}"))
}

pub(super) async fn book(State(app): State<App>, who: Who, Posted(sent): Posted<Booking>) -> Answer<Redirect> {
    actions::book(&app, &who, sent.slot_id, sent.employee_id).await?;
    Ok(back_to(sent.object, sent.from))
}

pub(super) async fn cancel(State(app): State<App>, who: Who, Posted(sent): Posted<Cancelling>) -> Answer<Redirect> {
    actions::cancel(&app, &who, sent.shift).await?;
    Ok(back_to(sent.object, sent.from))
}

#[derive(Deserialize)]
pub(super) struct Plan {
    plan: String,
}

pub(super) async fn pay(State(app): State<App>, who: Who, Posted(sent): Posted<Plan>) -> Answer<Redirect> {
    payments::begin(&app, &who, &sent.plan).await?;
    Ok(Redirect::to("/payments"))
}

#[derive(Deserialize)]
pub(super) struct Setting {
    name: String,
    value: String,
}

pub(super) async fn set(State(app): State<App>, who: Who, Posted(sent): Posted<Setting>) -> Answer<Redirect> {
    who.must_manage()?;
    app.staffing().settings.set(sent.name, optional_text("value", &sent.value, 200)?).await?;
    Ok(Redirect::to("/manage"))
}
