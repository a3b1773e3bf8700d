//! The map of the services is the one that their source says.

use std::collections::BTreeSet;

// In the map is what the program is linked with.
use staffing as _;

/// Who drops what and how, read from the source by hand.
const BY_HAND: &[(&str, &[&str])] = &[
    (
        "contracts.ContractService.create_in",
        &[
            "entry contract_employees",
            "entry contract_staff",
            "node contract_page",
            "entry contract_of_employee",
            "entry object_by_owner",
            "entry object_accessible",
            "entry contract",
        ],
    ),
    (
        "contracts.ContractService.hire",
        &[
            "entry contract_employees",
            "entry contract_staff",
            "node contract_page",
            "entry object_by_owner",
            "entry contract",
            "entry contract_of_employee",
            "entry object_accessible",
            "entry user",
        ],
    ),
    (
        "contracts.ContractService.update",
        &[
            "entry contract",
            "entry contract_employees",
            "entry contract_staff",
            "node contract_page",
            "entry contract_of_employee",
        ],
    ),
    (
        "contracts.ContractService.terminate_in",
        &[
            "tag contract_employees",
            "tag contract_page",
            "tag object_by_owner",
            "entry contract_staff",
            "entry contract",
            "entry contract_of_employee",
            "entry object_accessible",
            "node object_time_slots",
            "entry shift_of_employee",
            "node shift",
            "entry shift_active",
            "node shift_open_slots",
        ],
    ),
    ("objects.ObjectService.create", &["entry object_by_owner", "entry object"]),
    (
        "objects.ObjectService.update",
        &[
            "entry object",
            "entry object_by_owner",
            "node contract_page",
            "node object_accessible",
            "node contract_of_employee",
            "node shift_of_employee",
        ],
    ),
    (
        "objects.ObjectService.delete",
        &["entry object", "entry object_by_owner", "node object_time_slots", "node shift_open_slots"],
    ),
    ("objects.ObjectService.open_slot", &["node object_time_slots", "entry shift_open_slots"]),
    (
        "shifts.ShiftService.book",
        &[
            "entry shift",
            "entry shift_of_employee",
            "entry shift_active",
            "entry shift_open_slots",
            "node object_time_slots",
        ],
    ),
    (
        "shifts.ShiftService.cancel",
        &[
            "entry shift",
            "entry shift_of_employee",
            "entry shift_active",
            "entry shift_open_slots",
            "node object_time_slots",
        ],
    ),
    ("users.UserService.set_info", &["entry user_info"]),
    ("settings.SettingService.set", &["entry settings"]),
    ("subscriptions.SubscriptionService.pay", &["entry subscriptions"]),
    ("analytics.AnalyticsService.measure", &["entry analytics"]),
    ("analytics.AnalyticsService.forget", &["entry analytics"]),
];

#[test]
fn the_map_agrees_with_the_source() {
    let map = staleproof::map();
    let found: BTreeSet<(String, String)> = map
        .writers
        .iter()
        .flat_map(|writer| {
            let drops = writer.drops.iter().flat_map(|drops| drops.hits.iter().map(move |hit| (drops.how, hit)));
            drops.map(|(how, hit)| (writer.function.clone(), format!("{how} {hit}")))
        })
        .collect();
    let by_hand = BY_HAND
        .iter()
        .flat_map(|(writer, drops)| drops.iter().map(move |drops| (format!("staffing.{writer}"), (*drops).to_owned())));
    assert_eq!(found, by_hand.collect());

    let prefixes: Vec<_> = map.functions.iter().map(|function| &*function.prefix).collect();
    let expected = [
        "analytics",
        "contract",
        "contract_employees",
        "contract_staff",
        "contract_of_employee",
        "contract_page",
        "object",
        "object_by_owner",
        "object_accessible",
        "object_time_slots",
        "settings",
        "shift",
        "shift_of_employee",
        "shift_active",
        "shift_open_slots",
        "subscriptions",
        "user",
        "user_info",
    ];
    assert_eq!(prefixes, expected);
}

#[test]
fn nobody_forgot_a_cached_function() {
    if let Err(orphans) = staleproof::map().check_orphans([]) {
        panic!("{orphans}");
    }
    assert_eq!(staleproof::map().idle(), []);
}
