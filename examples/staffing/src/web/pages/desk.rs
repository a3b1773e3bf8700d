//! Pages that show something.

use std::{collections::BTreeMap, collections::HashMap};

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use staffing::{
    Day, Role,
    analytics::Figures,
    model::{CrewLine, Employee, Object, ObjectSummary, RosterLine, TimeSlot},
    seed::TODAY,
    subscriptions::{PLANS, Subscription},
    users::UserInfo,
};

use super::{frame::Frame, page};
use crate::web::{
    actions,
    app::App,
    chores,
    dialogue::{self, Form},
    fields::{Asked, At},
    payments::{self, Draft},
    places::{self, Nearby},
    refusal::{Answer, Refusal},
    session::Who,
};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    objects: Vec<Object>,
    shifts: Vec<RosterLine>,
    info: UserInfo,
}

pub(super) async fn home(State(app): State<App>, who: Who) -> Answer<Response> {
    let staffing = app.staffing();
    let (objects, shifts) = match who.role {
        Role::Owner => {
            let objects = staffing.objects.by_owner(who.id).await?;
            (objects.into_iter().map(|summary| summary.object).collect(), Vec::new())
        }
        Role::Employee => {
            let places = staffing.objects.accessible(who.id).await?;
            let mut shifts = staffing.shifts.of_employee(who.id).await?;
            shifts.retain(|line| line.shift.day >= TODAY);
            (places.into_iter().map(|place| place.object).collect(), shifts)
        }
        Role::Manager => (Vec::new(), Vec::new()),
    };
    let info = staffing.users.info(who.role, who.id).await?;
    page(&Home { frame: Frame::of(&app, &who, "/home").await?, objects, shifts, info })
}

#[derive(Template)]
#[template(path = "employees.html")]
struct Employees {
    frame: Frame,
    employees: Vec<Employee>,
}

pub(super) async fn employees(State(app): State<App>, who: Who) -> Answer<Response> {
    if who.role != Role::Owner {
        return Err(Refusal::forbidden());
    }
    let employees = app.staffing().contracts.employees(who.id).await?;
    page(&Employees { frame: Frame::of(&app, &who, "/employees").await?, employees })
}

#[derive(Template)]
#[template(path = "dialogue.html")]
struct Dialogue {
    frame: Frame,
    form: Form,
    objects: Vec<ObjectSummary>,
    today: Day,
}

pub(super) async fn dialogue(State(app): State<App>, who: Who) -> Answer<Response> {
    let form = dialogue::said(&app, &who).await?;
    let objects = app.staffing().objects.by_owner(who.id).await?;
    page(&Dialogue { frame: Frame::of(&app, &who, "/contracts/new").await?, form, objects, today: TODAY })
}

#[derive(Deserialize)]
pub(super) struct Week {
    from: Option<Day>,
}

/// A slot, and who is booked into it.
struct Row {
    slot: TimeSlot,
    crew: Vec<CrewLine>,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct Calendar {
    frame: Frame,
    object: Object,
    rows: Vec<Row>,
    staff: Vec<Employee>,
    may_book: bool,
    /// The employee who looks at it, or 0.
    mine: i64,
    from: Day,
    earlier: Option<Day>,
    later: Option<Day>,
}

pub(super) async fn calendar(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Asked(week): Asked<Week>,
) -> Answer<Response> {
    let staffing = app.staffing();
    let object = actions::object_for(&app, &who, id).await?;
    let from = week.from.unwrap_or(TODAY);
    let slots = staffing.objects.time_slots(id, from, from.plus(6)).await?;
    let mut by_slot: HashMap<i64, Vec<CrewLine>> = HashMap::new();
    for line in staffing.shifts.active(id).await? {
        by_slot.entry(line.shift.slot_id).or_default().push(line);
    }
    let row = |slot: TimeSlot| Row { crew: by_slot.remove(&slot.id).unwrap_or_default(), slot };
    let rows = slots.into_iter().map(row).collect();
    let may_book = who.role != Role::Employee;
    let staff = if may_book { staffing.contracts.staff(id).await? } else { Vec::new() };
    let mine = if may_book { 0 } else { who.id };
    // Only days that can be asked for.
    let week_from = |days| from.plus(days).to_string().parse().ok();
    let (earlier, later) = (week_from(-7), week_from(7));
    let frame = Frame::of(&app, &who, "").await?;
    page(&Calendar { frame, object, rows, staff, may_book, mine, from, earlier, later })
}

#[derive(Deserialize)]
pub(super) struct Around {
    #[serde(default = "leipzig_north")]
    latitude: f64,
    #[serde(default = "leipzig_east")]
    longitude: f64,
    #[serde(default = "five_kilometres")]
    metres: f64,
}

fn leipzig_north() -> f64 {
    51.34
}

fn leipzig_east() -> f64 {
    12.37
}

fn five_kilometres() -> f64 {
    5_000.0
}

#[derive(Template)]
#[template(path = "near.html")]
struct Near {
    frame: Frame,
    latitude: f64,
    longitude: f64,
    metres: f64,
    all: Vec<Nearby>,
}

pub(super) async fn near(State(app): State<App>, who: Who, Asked(around): Asked<Around>) -> Answer<Response> {
    let Around { latitude, longitude, metres } = around;
    let all = places::near(&app, longitude, latitude, metres).await?;
    page(&Near { frame: Frame::of(&app, &who, "/near").await?, latitude, longitude, metres, all })
}

#[derive(Template)]
#[template(path = "payments.html")]
struct Payments {
    frame: Frame,
    subscriptions: Vec<Subscription>,
    plans: [(&'static str, i64); PLANS.len()],
    drafts: Vec<Draft>,
}

pub(super) async fn payments(State(app): State<App>, who: Who) -> Answer<Response> {
    let subscriptions = app.staffing().subscriptions.of_user(who.role, who.id).await?;
    let drafts = payments::of(&app, &who).await?;
    page(&Payments { frame: Frame::of(&app, &who, "/payments").await?, subscriptions, plans: PLANS, drafts })
}

/// How times are written.
const TO_THE_SECOND: &str = "%F %T UTC";

/// A job as it is shown.
struct Job {
    name: String,
    began: String,
    took: String,
    runs: u64,
    failures: u64,
    /// How it failed when it last ended.
    failure: String,
    by: String,
    next: String,
}

#[derive(Template)]
#[template(path = "manage.html")]
struct Manage {
    frame: Frame,
    settings: BTreeMap<String, String>,
    jobs: Vec<Job>,
    figures: Vec<Figures>,
}

pub(super) async fn manage(State(app): State<App>, who: Who) -> Answer<Response> {
    who.must_manage()?;
    let staffing = app.staffing();
    // The rest of the page is shown also where reports are out of reach.
    let reports = chores::reports(&app).await.unwrap_or_default();
    let jobs = reports.into_iter().map(|(name, report)| Job {
        name,
        began: report.began.map_or_else(|| "never".to_owned(), |began| began.format(TO_THE_SECOND).to_string()),
        took: report.duration().map_or_else(String::new, |took| format!("{took:.1?}")),
        runs: report.runs,
        failures: report.failures,
        failure: report.failure.unwrap_or_default(),
        by: report.by,
        next: report.next.map_or_else(String::new, |next| next.format(TO_THE_SECOND).to_string()),
    });
    let jobs = jobs.collect();
    let (settings, figures) = (staffing.settings.all().await?, staffing.analytics.latest().await?);
    page(&Manage { frame: Frame::of(&app, &who, "/manage").await?, settings, jobs, figures })
}
