//! The story that `cargo run -p staffing` tells: what is asked twice is answered once, and nothing stale.
//!
//! It leaves the data as it found them, apart from one more employee without a contract in force.

use std::sync::Arc;

use staffing::{
    Error, Result, ShiftService, Staffing,
    model::{Contract, NewHire, Object, ObjectChange, TimeSlot},
    seed::TODAY,
};
use staleproof::{Cache, Event, Events, Outcome, keys};

use crate::report::{Call, Report};

/// Whose day it is, and an owner who has nothing to do with it.
const OWNER: i64 = 7;
const OTHER_OWNER: i64 = 8;

/// How many want the same at once.
const CALLERS: u64 = 1_000;

fn call<A>(name: &'static str, args: A) -> Call<A> {
    Call { name, args }
}

struct Scenario {
    service: Staffing,
    cache: Cache,
    events: Events,
    report: Report,
}

/// Tells the story.
pub(crate) async fn play(service: Staffing, cache: Cache) -> Result<()> {
    let report = Report::new(service.db.clone());
    let events = cache.events();
    let mut story = Scenario { service, cache, events, report };
    let object = story.owner_looks_around().await?;
    let employee = story.employee_looks_around().await?;
    story.calendar(&object).await?;
    let contract = story.hire(&object).await?;
    story.booking(&object, &contract).await?;
    story.rename(&object, employee).await?;
    story.nothing_there().await?;
    story.burst(&object).await?;
    story.goodbye(&contract).await?;
    story.report.summary();
    Ok(())
}

impl Scenario {
    async fn owner_looks_around(&mut self) -> Result<Object> {
        self.report.section("An owner opens the office, and somebody else asks the same");
        for _ in 0..2 {
            self.employees(OWNER).await?;
            self.page(0).await?;
            self.objects().await?;
        }
        self.employees(OTHER_OWNER).await?;
        let objects = self.service.objects.by_owner(OWNER).await?;
        let busiest = objects.into_iter().max_by_key(|line| line.contracts);
        busiest.map(|line| line.object).ok_or(Error::Missing { what: "object of owner", id: OWNER })
    }

    async fn employee_looks_around(&mut self) -> Result<i64> {
        self.report.section("An employee looks at contracts, places of work and shifts");
        let employees = self.service.contracts.employees(OWNER).await?;
        let employee = employees.first().ok_or(Error::Missing { what: "employee of owner", id: OWNER })?.id;
        for _ in 0..2 {
            self.contracts_of(employee).await?;
            self.accessible(employee).await?;
            self.roster(employee).await?;
        }
        Ok(employee)
    }

    async fn calendar(&mut self, object: &Object) -> Result<()> {
        self.report.section("The calendar of a place of work");
        for _ in 0..2 {
            self.week(object.id).await?;
            self.crew(object.id).await?;
        }
        Ok(())
    }

    async fn hire(&mut self, object: &Object) -> Result<Contract> {
        self.report.section("The owner hires: what changed is read anew, what did not stays warm");
        let new = NewHire {
            owner_id: OWNER,
            object_id: object.id,
            name: "Zoe Newcomer".into(),
            trade: "cook".into(),
            starts_on: TODAY,
            hourly_cents: 2_150,
        };
        let name = call("ContractService::hire", format!("owner {OWNER}, {:?}", new.name));
        let hired = self.service.contracts.hire(new);
        let contract = self.report.write(name, hired, async || dropped(&mut self.events).await).await?;
        self.employees(OWNER).await?;
        self.employees(OWNER).await?;
        self.page(0).await?;
        self.employees(OTHER_OWNER).await?;
        self.week(object.id).await?;
        Ok(contract)
    }

    async fn booking(&mut self, object: &Object, contract: &Contract) -> Result<()> {
        self.report.section("The newcomer is booked into a free seat, and calls it off");
        self.roster(contract.employee_id).await?;
        let slot = self.free_slot(object.id).await?;
        let name = call("ShiftService::book", format!("slot {}, employee {}", slot.id, contract.employee_id));
        let booked = self.service.shifts.book(slot.id, contract.employee_id);
        let shift = self.report.write(name, booked, async || dropped(&mut self.events).await).await?;
        self.roster(contract.employee_id).await?;
        self.week(object.id).await?;
        self.crew(object.id).await?;
        self.objects().await?;
        let cancelled = self.service.shifts.cancel(shift.id);
        let name = call("ShiftService::cancel", format!("shift {}", shift.id));
        self.report.write(name, cancelled, async || dropped(&mut self.events).await).await?;
        self.roster(contract.employee_id).await.map(drop)
    }

    async fn rename(&mut self, object: &Object, employee: i64) -> Result<()> {
        self.report.section("A place of work gets another name: a whole function is dropped at the price of one entry");
        for name in [format!("{} (new)", object.name), object.name.clone()] {
            let change = ObjectChange { name: Some(name.clone()), street: None };
            let renamed = self.service.objects.update(object.id, change);
            let name = call("ObjectService::update", format!("{}, {name:?}", object.id));
            self.report.write(name, renamed, async || dropped(&mut self.events).await).await?;
            self.accessible(employee).await?;
            self.employees(OWNER).await?;
        }
        Ok(())
    }

    async fn nothing_there(&mut self) -> Result<()> {
        self.report.section("That there is nothing is an answer, too");
        let id = 1_000_000_000;
        for _ in 0..2 {
            let found = self.service.contracts.get(id);
            let say = |found: &Option<Contract>| if found.is_some() { "a contract" } else { "no such contract" }.into();
            self.report.read(call("ContractService::get", id), found, say).await?;
        }
        Ok(())
    }

    async fn burst(&mut self, object: &Object) -> Result<()> {
        self.report.section("Everybody wants the same, and nobody has it yet");
        let cache = &self.cache;
        let invalidated = async { Ok(cache.invalidate(keys![ShiftService::active(object.id)]).await) };
        let name = call("Cache::invalidate", format!("keys![ShiftService::active({})]", object.id));
        // What it achieved is printed with what it hit.
        let _: Outcome = self.report.write(name, invalidated, async || dropped(&mut self.events).await).await?;
        let shifts = self.service.shifts.clone();
        let object_id = object.id;
        let all = async move {
            let mut callers = tokio::task::JoinSet::new();
            let start = Arc::new(tokio::sync::Barrier::new(usize::try_from(CALLERS).expect("a small number")));
            for _ in 0..CALLERS {
                let (shifts, start) = (shifts.clone(), Arc::clone(&start));
                callers.spawn(async move {
                    start.wait().await;
                    shifts.active(object_id).await.map(drop)
                });
            }
            callers.join_all().await.into_iter().collect()
        };
        self.report.burst(call("ShiftService::active", object.id), CALLERS, all).await?;
        self.crew(object.id).await
    }

    async fn goodbye(&mut self, contract: &Contract) -> Result<()> {
        self.report.section("The contract ends: one tag drops all that the owner sees");
        let ended = self.service.contracts.terminate(contract.id, TODAY);
        let name = call("ContractService::terminate", contract.id);
        self.report.write(name, ended, async || dropped(&mut self.events).await).await?;
        self.employees(OWNER).await?;
        self.page(0).await?;
        self.objects().await?;
        self.employees(OTHER_OWNER).await
    }

    async fn free_slot(&self, object_id: i64) -> Result<TimeSlot> {
        for day in 0..14 {
            let open = self.service.shifts.open_slots(object_id, TODAY.plus(day)).await?;
            if let Some(slot) = open.into_iter().next() {
                return Ok(slot);
            }
        }
        Err(Error::Missing { what: "free slot at object", id: object_id })
    }
}

/// The questions that the story asks over and over.
impl Scenario {
    async fn employees(&mut self, owner: i64) -> Result<()> {
        let answer = self.service.contracts.employees(owner);
        let say = |list: &Vec<_>| format!("{} employees", list.len());
        self.report.read(call("ContractService::employees", owner), answer, say).await.map(drop)
    }

    async fn page(&mut self, page: u32) -> Result<()> {
        let answer = self.service.contracts.page(OWNER, page);
        let args = format!("{OWNER}, {page}");
        let say =
            |page: &Arc<staffing::model::ContractPage>| format!("{} of {} contracts", page.lines.len(), page.total);
        self.report.read(call("ContractService::page", args), answer, say).await.map(drop)
    }

    async fn objects(&mut self) -> Result<()> {
        let answer = self.service.objects.by_owner(OWNER);
        let say = |list: &Vec<_>| format!("{} objects", list.len());
        self.report.read(call("ObjectService::by_owner", OWNER), answer, say).await.map(drop)
    }

    async fn contracts_of(&mut self, employee: i64) -> Result<()> {
        let answer = self.service.contracts.of_employee(employee);
        let say = |list: &Vec<_>| format!("{} contracts", list.len());
        self.report.read(call("ContractService::of_employee", employee), answer, say).await.map(drop)
    }

    async fn accessible(&mut self, employee: i64) -> Result<()> {
        let answer = self.service.objects.accessible(employee);
        let say = |list: &Vec<staffing::model::Place>| {
            list.iter().map(|place| place.object.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        self.report.read(call("ObjectService::accessible", employee), answer, say).await.map(drop)
    }

    async fn roster(&mut self, employee: i64) -> Result<()> {
        let answer = self.service.shifts.of_employee(employee);
        let say = |list: &Vec<_>| format!("{} shifts", list.len());
        self.report.read(call("ShiftService::of_employee", employee), answer, say).await.map(drop)
    }

    async fn week(&mut self, object: i64) -> Result<()> {
        let answer = self.service.objects.time_slots(object, TODAY, TODAY.plus(6));
        let args = format!("{object}, {TODAY}, {}", TODAY.plus(6));
        let say = |slots: &Vec<TimeSlot>| {
            let (taken, seats) = slots.iter().fold((0, 0), |sum, slot| (sum.0 + slot.taken, sum.1 + slot.capacity));
            format!("{} slots, {taken} of {seats} seats taken", slots.len())
        };
        self.report.read(call("ObjectService::time_slots", args), answer, say).await.map(drop)
    }

    async fn crew(&mut self, object: i64) -> Result<()> {
        let answer = self.service.shifts.active(object);
        let say = |list: &Vec<_>| format!("{} shifts to be worked", list.len());
        self.report.read(call("ShiftService::active", object), answer, say).await.map(drop)
    }
}

/// What was invalidated since the last time.
async fn dropped(events: &mut Events) -> Vec<String> {
    let mut dropped = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => if let Event::Invalidated { targets, outcome } = event {
                let when = if outcome == Outcome::Journaled { " (here; elsewhere once Redis is back)" } else { "" };
                dropped.extend(targets.iter().map(|target| format!("{target}{when}")));
            },
            () = std::future::ready(()) => return dropped,
        }
    }
}
