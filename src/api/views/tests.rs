#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::samples;
use crate::api::wire::DESCRIPTION;
use bulkhead_core::model::{Component, CpuId, DramPlace, Fault, PageSize, Rule};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{json, Value};
use varlink_parser::{VStruct, VStructOrEnum, VType, VTypeExt, IDL};

/// Keys and kinds of `value` are those of `shape`, down to the leaves; what may
/// be null may be left out (Varlink, "nullable types").
fn conforms(idl: &IDL, shape: &VStruct, value: &Value, place: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("{place}: {value} is no object"));
    for key in object.keys() {
        assert!(shape.elts.iter().any(|e| e.name == key), "{place}: {key} is not defined");
    }
    for element in &shape.elts {
        let value = object.get(element.name).unwrap_or(&Value::Null);
        fits(idl, &element.vtype, value, &format!("{place}.{}", element.name));
    }
}

fn fits(idl: &IDL, shape: &VTypeExt, value: &Value, place: &str) {
    match shape {
        VTypeExt::Option(_) if value.is_null() => {}
        VTypeExt::Option(inner) => fits(idl, inner, value, place),
        VTypeExt::Array(inner) => {
            value.as_array().unwrap().iter().for_each(|v| fits(idl, inner, v, place));
        }
        VTypeExt::Dict(inner) => {
            value.as_object().unwrap().values().for_each(|v| fits(idl, inner, v, place));
        }
        VTypeExt::Plain(VType::Typename(name)) => match &idl.typedefs[name].elt {
            VStructOrEnum::VStruct(shape) => conforms(idl, shape, value, place),
            VStructOrEnum::VEnum(_) => unreachable!("no enums here"),
        },
        VTypeExt::Plain(VType::Struct(shape)) => conforms(idl, shape, value, place),
        VTypeExt::Plain(VType::Int) => assert!(value.is_u64(), "{place}: {value}"),
        VTypeExt::Plain(VType::Float) => assert!(value.is_number(), "{place}: {value}"),
        VTypeExt::Plain(VType::Bool) => assert!(value.is_boolean(), "{place}: {value}"),
        VTypeExt::Plain(VType::String) => assert!(value.is_string(), "{place}: {value}"),
        VTypeExt::Plain(_) => {}
    }
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(view: &T) {
    let text = serde_json::to_string(view).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), view);
}

fn explained_row() -> Explanation {
    Explanation::of(&samples::row_fault(), PageSize::KIB_4, Vec::new())
}

#[test]
fn every_view_is_as_the_interface_defines_it() {
    let idl = IDL::try_from(DESCRIPTION).unwrap();
    let act = ActReply {
        isolation: samples::ledger().remove(0),
        dry_run: true,
        together: vec!["1".to_owned()],
        plan: Some(Box::new(PlanView::of(&samples::survey(), &[CpuId(1)]))),
    };
    for (method, reply) in [
        ("Status", json!(samples::ailing())),
        ("ListIsolations", json!({ "isolations": samples::ledger() })),
        ("ListFaults", json!({ "faults": samples::faults() })),
        ("ExplainFault", json!(samples::explanation())),
        ("ExplainFault", json!(explained_row())),
        ("Isolate", json!(act)),
        ("Release", json!(act)),
        ("Resolve", json!(samples::resolved())),
        ("Boots", json!({ "boots": samples::boots() })),
    ] {
        conforms(&idl, &idl.methods[method].output, &reply, method);
    }
}

#[test]
fn every_view_survives_being_written_and_read() {
    survives(&samples::ailing());
    survives(&samples::ledger());
    survives(&samples::faults());
    survives(&samples::explanation());
    survives(&explained_row());
    survives(&samples::resolved());
    survives(&samples::boots());
}

#[test]
fn status_is_the_object_of_the_contract() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&samples::ailing()).unwrap());
}

#[test]
fn an_explanation_is_the_object_of_the_contract() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&samples::explanation()).unwrap());
}

#[test]
fn a_list_is_the_array_of_the_contract() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&samples::ledger()).unwrap());
}

#[test]
fn health_is_the_worst_that_is_there() {
    let with = |change: fn(&mut Status)| {
        let mut status = samples::healthy();
        change(&mut status);
        status.assess()
    };
    assert_eq!(with(|_| {}), Health::Ok);
    assert_eq!(with(|s| s.pending = 1), Health::Ok);
    for degrade in [
        (|s| s.isolated.cpus = 1) as fn(&mut Status),
        |s| s.isolated.pages = 1,
        |s| s.open_faults = 1,
    ] {
        assert_eq!(with(degrade), Health::Degraded);
    }
    for fault in [
        (|s| s.failed = 1) as fn(&mut Status),
        |s| s.refused = 1,
        |s| s.escalated = 1,
        |s| s.state = Saved::NotSaved,
        |s| s.sources[0].state = SourceState::Failed,
        |s| s.sources[0].state = SourceState::Lossy,
    ] {
        assert_eq!(with(fault), Health::Faulted);
    }
}

#[test]
fn numbers_are_numbers_and_keep_their_order() {
    let text = serde_json::to_string(&samples::explanation().rule).unwrap();
    assert_eq!(text, r#"{"id":"page-ce","number":"P1","numbers":{"window":"24h","errors":2}}"#);
}

#[test]
fn a_row_is_told_with_its_part_and_the_pages_that_it_covers() {
    let case = json!(explained_row());
    assert_eq!((&case["fault"]["kind"], &case["rule"]["number"]), (&json!("row"), &json!("D1")));
    assert_eq!(
        case["fault"]["component"],
        "row 0x1f2, bank 3, bank group 1, rank 0 of CPU_SrcID#0_MC#0_Chan#0_DIMM#0 \
         (mc0 channel 0 slot 0)"
    );
    assert_eq!(case["fault"]["fru"], "DIMM A1 (serial 85A3F1)");
    assert_eq!(case["cover"]["by"], "exact");
    let pages = case["cover"]["pages"].as_array().unwrap();
    assert_eq!((pages.len(), &pages[1]), (24, &json!("0x8002000")));
}

#[test]
fn every_part_of_a_dimm_is_a_kind_of_its_own() {
    let (place, label) = (DramPlace::default(), || "A1".to_owned());
    for (component, kind) in [
        (Component::Row { place, label: label() }, "row"),
        (Component::Column { place, label: label() }, "column"),
        (Component::Bank { place, label: label() }, "bank"),
        (Component::Rank { place, label: label() }, "rank"),
        (Component::Dimm { dimm: place.dimm, label: label() }, "dimm"),
    ] {
        let fault = Fault { component, ..samples::row_fault() };
        let view = json!(FaultView::of(&fault, PageSize::KIB_4));
        assert_eq!(
            (&view["kind"], &view["fru"]),
            (&json!(kind), &json!("DIMM A1 (serial 85A3F1)"))
        );
    }
}

#[test]
fn a_rule_of_another_version_has_no_number() {
    let rule = Rule { id: "row-guess".to_owned(), numbers: Vec::new() };
    let case = Fault { rule, ..samples::row_fault() };
    assert_eq!(Explanation::of(&case, PageSize::KIB_4, Vec::new()).rule.number, None);
}

#[test]
fn a_case_as_an_older_daemon_tells_it_is_read() {
    let mut case = json!(explained_row());
    case.as_object_mut().unwrap().remove("cover");
    case["rule"].as_object_mut().unwrap().remove("number");
    let case: Explanation = serde_json::from_value(case).unwrap();
    assert_eq!((case.cover, case.rule.number), (None, None));
}
