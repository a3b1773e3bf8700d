//! The JSON API, as `openapi.json` describes it.

mod requests;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{AppendHeaders, IntoResponse},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use staffing::{
    Role,
    model::{Contract, ContractPage, CrewLine, Employee, NewHire, NewObject, NewSlot, Object, ObjectSummary},
    model::{RosterLine, Shift, TimeSlot},
    seed::TODAY,
    subscriptions::Subscription,
    users::UserInfo,
};
use staleproof::kit::JobReport;
use std::sync::Arc;

use self::requests::{Around, Booking, Code, Days, Hire, Login, Page, Plan, Setting, Site, Slot};
use super::{
    actions,
    app::App,
    chores,
    fields::{Asked, At, Sent, number, optional_text, text, user_info},
    login, payments, places,
    refusal::{Answer, Refusal},
    session::{self, Who},
};

const DESCRIPTION: &str = include_str!("openapi.json");

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION) }))
        .route("/login/code", post(send_code))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/me", get(me).put(set_me))
        .route("/owners/{id}/employees", get(employees))
        .route("/owners/{id}/contracts", get(contracts))
        .route("/owners/{id}/objects", get(objects).post(add_object))
        .route("/contracts", post(hire))
        .route("/contracts/{id}", get(contract))
        .route("/contracts/{id}/end", post(terminate))
        .route("/objects/{id}", get(object))
        .route("/objects/{id}/slots", get(slots).post(open_slot))
        .route("/objects/{id}/shifts", get(crew))
        .route("/employees/{id}/shifts", get(roster))
        .route("/near", get(near))
        .route("/shifts", post(book))
        .route("/shifts/{id}", get(shift))
        .route("/shifts/{id}/cancel", post(cancel))
        .route("/subscriptions", get(subscriptions))
        .route("/payments", get(all_payments).post(pay))
        .route("/payments/{id}", get(payment))
        .route("/settings", get(settings))
        .route("/settings/{name}", put(set))
        .route("/analytics", get(analytics))
        .route("/jobs", get(jobs))
}

async fn send_code(State(app): State<App>, Sent(asked): Sent<Code>) -> Answer<(StatusCode, Json<Value>)> {
    login::send_code(&app, &asked.login).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "sent": true }))))
}

async fn log_in(State(app): State<App>, Sent(asked): Sent<Login>) -> Answer<impl IntoResponse> {
    let cookie = login::log_in(&app, &asked.login, &asked.code).await?;
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(json!({ "login": asked.login.trim() }))))
}

async fn log_out(State(app): State<App>, who: Who) -> Answer<impl IntoResponse> {
    let cookie = session::end(&app, &who).await?;
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), StatusCode::NO_CONTENT))
}

async fn me(State(app): State<App>, who: Who) -> Answer<Json<Value>> {
    let users = app.staffing().users;
    let user = users.get(who.role, who.id).await?.ok_or_else(|| Refusal::missing("user"))?;
    let info = users.info(who.role, who.id).await?;
    Ok(Json(json!({ "user": user, "info": info })))
}

async fn set_me(State(app): State<App>, who: Who, Sent(sent): Sent<UserInfo>) -> Answer<Json<UserInfo>> {
    Ok(Json(app.staffing().users.set_info(who.role, who.id, user_info(&sent)?).await?))
}

async fn employees(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Vec<Employee>>> {
    who.must_be(Role::Owner, id)?;
    Ok(Json(app.staffing().contracts.employees(id).await?))
}

async fn contracts(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Asked(asked): Asked<Page>,
) -> Answer<Json<ContractPage>> {
    who.must_be(Role::Owner, id)?;
    let page = number("page", asked.page, 0..=100_000)?;
    let page = app.staffing().contracts.page(id, u32::try_from(page).unwrap_or(0)).await?;
    Ok(Json(Arc::unwrap_or_clone(page)))
}

async fn objects(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Vec<ObjectSummary>>> {
    who.must_be(Role::Owner, id)?;
    Ok(Json(app.staffing().objects.by_owner(id).await?))
}

async fn add_object(
    State(app): State<App>,
    who: Who,
    At(owner_id): At<i64>,
    Sent(site): Sent<Site>,
) -> Answer<(StatusCode, Json<Object>)> {
    let new = NewObject {
        owner_id,
        name: text("name", &site.name, 100)?,
        street: text("street", &site.street, 100)?,
        city: text("city", &site.city, 100)?,
        latitude: site.latitude()?,
        longitude: site.longitude()?,
    };
    Ok((StatusCode::CREATED, Json(actions::add_object(&app, &who, new).await?)))
}

async fn hire(State(app): State<App>, who: Who, Sent(sent): Sent<Hire>) -> Answer<(StatusCode, Json<Contract>)> {
    let hire = NewHire {
        // That of the object.
        owner_id: 0,
        object_id: sent.object_id,
        name: text("name", &sent.name, 100)?,
        trade: text("trade", &sent.trade, 50)?,
        starts_on: sent.starts_on,
        hourly_cents: number("hourly_cents", sent.hourly_cents, 1..=100_000)?,
    };
    Ok((StatusCode::CREATED, Json(actions::hire(&app, &who, hire).await?)))
}

async fn contract(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Contract>> {
    Ok(Json(actions::contract_for(&app, &who, id).await?))
}

async fn terminate(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Contract>> {
    Ok(Json(actions::terminate(&app, &who, id).await?))
}

async fn object(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Object>> {
    Ok(Json(actions::object_for(&app, &who, id).await?))
}

async fn slots(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Asked(days): Asked<Days>,
) -> Answer<Json<Vec<TimeSlot>>> {
    let from = days.from.unwrap_or(TODAY);
    Ok(Json(actions::slots(&app, &who, id, from, days.to.unwrap_or(from.plus(6))).await?))
}

async fn open_slot(
    State(app): State<App>,
    who: Who,
    At(object_id): At<i64>,
    Sent(sent): Sent<Slot>,
) -> Answer<(StatusCode, Json<TimeSlot>)> {
    let new = NewSlot {
        object_id,
        day: sent.day,
        starts: number("starts", sent.starts, 0..=1_439)?,
        ends: number("ends", sent.ends, 1..=1_440)?,
        capacity: number("capacity", sent.capacity, 1..=100)?,
    };
    Ok((StatusCode::CREATED, Json(actions::open_slot(&app, &who, new).await?)))
}

async fn crew(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Vec<CrewLine>>> {
    actions::object_for(&app, &who, id).await?;
    Ok(Json(app.staffing().shifts.active(id).await?))
}

async fn roster(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Vec<RosterLine>>> {
    who.must_be(Role::Employee, id)?;
    Ok(Json(app.staffing().shifts.of_employee(id).await?))
}

async fn near(State(app): State<App>, _: Who, Asked(asked): Asked<Around>) -> Answer<Json<Vec<places::Nearby>>> {
    let (longitude, latitude, metres) = asked.checked()?;
    Ok(Json(places::near(&app, longitude, latitude, metres).await?))
}

async fn book(State(app): State<App>, who: Who, Sent(sent): Sent<Booking>) -> Answer<(StatusCode, Json<Shift>)> {
    let shift = actions::book(&app, &who, sent.slot_id, sent.employee_id).await?;
    Ok((StatusCode::CREATED, Json(shift)))
}

async fn shift(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Shift>> {
    Ok(Json(actions::shift_for(&app, &who, id).await?))
}

async fn cancel(State(app): State<App>, who: Who, At(id): At<i64>) -> Answer<Json<Shift>> {
    Ok(Json(actions::cancel(&app, &who, id).await?))
}

async fn subscriptions(State(app): State<App>, who: Who) -> Answer<Json<Vec<Subscription>>> {
    Ok(Json(app.staffing().subscriptions.of_user(who.role, who.id).await?))
}

async fn all_payments(State(app): State<App>, who: Who) -> Answer<Json<Vec<payments::Draft>>> {
    Ok(Json(payments::of(&app, &who).await?))
}

async fn pay(State(app): State<App>, who: Who, Sent(sent): Sent<Plan>) -> Answer<(StatusCode, Json<payments::Draft>)> {
    Ok((StatusCode::ACCEPTED, Json(payments::begin(&app, &who, &sent.plan).await?)))
}

async fn payment(State(app): State<App>, who: Who, At(id): At<String>) -> Answer<Json<payments::Draft>> {
    Ok(Json(payments::one(&app, &who, &id).await?))
}

async fn settings(State(app): State<App>, _: Who) -> Answer<impl IntoResponse> {
    Ok(Json(app.staffing().settings.all().await?))
}

async fn set(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    Sent(sent): Sent<Setting>,
) -> Answer<impl IntoResponse> {
    who.must_manage()?;
    let settings = app.staffing().settings;
    if !settings.all().await?.contains_key(&name) {
        return Err(Refusal::missing("setting"));
    }
    settings.set(name, optional_text("value", &sent.value, 200)?).await?;
    Ok(Json(settings.all().await?))
}

async fn analytics(State(app): State<App>, who: Who) -> Answer<impl IntoResponse> {
    who.must_manage()?;
    Ok(Json(app.staffing().analytics.latest().await?))
}

async fn jobs(State(app): State<App>, who: Who) -> Answer<Json<Vec<Value>>> {
    who.must_manage()?;
    let reports = chores::reports(&app).await?;
    let told = |(name, report): (String, JobReport)| {
        let seconds = report.duration().map(|took| took.as_secs_f64());
        json!({ "name": name, "next": report.next, "seconds": seconds, "report": report })
    };
    Ok(Json(reports.into_iter().map(told).collect()))
}
