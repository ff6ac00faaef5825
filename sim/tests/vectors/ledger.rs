//! The list of all vectors: each is checked here, checked by a unit test elsewhere, or waits.

use std::collections::BTreeSet;

/// Families and how many vectors each has.
const FAMILIES: &[(&str, usize)] = &[
    ("H", 11),
    ("S", 10),
    ("W", 9),
    ("B", 43),
    ("T", 20),
    ("A", 17),
    ("R", 11),
    ("K", 8),
    ("P", 21),
    ("U", 9),
    ("G", 19),
    ("E", 10),
    ("X", 25),
    ("C", 6),
    ("AX", 32),
    ("TR", 145),
];

/// Vectors of pure functions stand beside the function: their numbers, the file, the name of the test.
const ELSEWHERE: &[(&str, &[usize], &str, &str)] = &[
    ("H", &[1, 3], CANONICAL, "templates_hash_as_in_the_reference"),
    ("H", &[2, 5], CANONICAL, "the_collision_count_changes_the_hash_even_when_zero"),
    ("H", &[4, 10], CANONICAL, "amounts_hash_by_their_canonical_form"),
    ("H", &[6, 7, 8], CANONICAL, "steps_hash_as_in_the_reference"),
    ("S", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], SCALE, "surge_rounds_up_and_unavailable_rounds_down"),
    ("W", &[1, 2, 3, 4, 5, 6, 7, 8, 9], SCALE, "weights_become_the_nearest_numbers_of_pods"),
    (
        "B",
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28, 29, 30, 31, 32, 33, 34,
        ],
        SCALE,
        "both_sides_move_within_the_limits",
    ),
    ("B", &[43], SCALE, "unavailable_pods_are_not_kept"),
    ("R", &[1, 2, 3, 4, 5, 6, 7], SCALE, "a_threshold_says_when_it_is_enough"),
    ("T", &[9, 10], DECIDE, "weights_become_pods_rounded_up"),
    ("T", &[13, 14, 18], ROUTED, "sizes_of_an_abort_without_replica_sets"),
    ("TR", &[28], NGINX, "v28_canary_ingress_is_made_from_the_stable_one"),
    ("TR", &[29, 30], NGINX, "v29_v30_only_what_differs_is_written"),
    ("TR", &[31], NGINX, "v31_class_annotation_is_copied_and_goes_with_the_stable_one"),
    ("TR", &[32], NGINX, "v32_tls_is_that_of_the_stable_ingress"),
    ("TR", &[33], NGINX, "v33_additional_annotations_get_the_prefix_and_leave_with_the_field"),
    ("TR", &[34], NGINX, "v34_canary_is_set_and_foreign_keys_are_kept"),
    ("TR", &[35], NGINX, "v35_total_is_written_only_where_the_rollout_has_one"),
    ("TR", &[36, 37], NGINX, "v36_v37_stable_ingress_missing_or_without_the_service"),
    ("TR", &[38], NGINX, "v38_canary_of_somebody_else_is_refused_and_that_of_a_predecessor_taken_over"),
    ("TR", &[39], NGINX, "v39_nothing_is_written_twice"),
    ("TR", &[41], NGINX, "v41_long_names_are_cut"),
    ("TR", &[42], NGINX, "v42_several_ingresses_or_none_of_them"),
    ("TR", &[43], ALB, "v43_ingress_missing_or_without_the_service"),
    ("TR", &[44, 46], ALB, "v44_v46_one_patch_and_then_none"),
    ("TR", &[45], ALB, "v45_broken_bookkeeping_is_told"),
    ("TR", &[47, 48], ALB, "v47_v48_every_ingress_that_differs_is_written"),
    ("TR", &[50], ALB, "v50_bad_stickiness_is_refused_before_anything_is_written"),
    ("TR", &[49], ACTION, "v49_a_weight_of_0_is_written"),
    ("TR", &[51], ACTION, "v50_v51_stickiness_is_bounded_and_written_only_when_enabled"),
    ("TR", &[57, 58], ACTION, "v57_v58_values_of_one_header_are_alternatives"),
    ("TR", &[69], REGISTRATION, "v69_every_ready_address_must_be_registered_at_the_pods_port"),
    ("TR", &[70], REGISTRATION, "v70_other_target_groups_are_no_matter"),
    ("TR", &[52, 53], ALB, "v52_v53_arms_stand_between_the_sides"),
    ("TR", &[54], ALB, "v54_v55_the_pair_wins_over_the_two_services"),
    ("TR", &[56], ALB, "v56_a_header_route_is_an_action_conditions_and_a_path_in_front"),
    ("TR", &[59], ALB, "v59_a_route_that_is_not_wanted_goes_entirely"),
    ("TR", &[60], ALB, "v60_routes_stand_in_the_order_of_managed_routes_before_all_others"),
    ("TR", &[61], ALB, "v61_mirrors_are_not_served"),
    ("TR", &[62], VERIFY, "v62_a_load_balancer_that_is_not_found"),
    ("TR", &[63, 64], VERIFY, "v63_v64_only_the_canarys_weight_counts"),
    ("TR", &[65, 66], VERIFY, "v65_v66_what_is_waited_for"),
    ("TR", &[67], VERIFY, "v67_arns_that_nothing_can_be_read_from"),
    ("TR", &[68], VERIFY, "v68_every_destination_of_every_ingress"),
    ("TR", &[71], ALB, "v71_weights_and_routes_of_a_gone_rollout_are_undone"),
    ("TR", &[72], ALB, "v72_what_cannot_be_understood_is_left_alone"),
    ("TR", &[73], ALB, "v73_entries_of_users_stay_when_another_goes"),
    ("TR", &[74], ISTIO, "vector_74_only_named_routes_are_weighted"),
    ("TR", &[75], ISTIO, "vector_75_the_only_route_needs_no_name"),
    ("TR", &[76, 77], ISTIO, "vectors_76_and_77_routes_by_name"),
    ("TR", &[78], ISTIO, "vector_78_two_routes_must_be_told_apart"),
    ("TR", &[79, 80], ISTIO, "vectors_79_and_80_tls_routes_go_by_port_and_hosts"),
    ("TR", &[81], ISTIO, "vector_81_tcp_routes_go_by_port"),
    ("TR", &[82], ISTIO, "vector_82_all_protocols_at_once"),
    ("TR", &[83], ISTIO, "vector_83_a_pair_swaps_roles"),
    ("TR", &[84], ISTIO, "vector_84_nothing_to_change"),
    ("TR", &[85, 86], ISTIO, "vectors_85_and_86_arms_come_and_go"),
    ("TR", &[87], ISTIO, "vector_87_additional_subsets_keep_their_weight"),
    ("TR", &[88, 89], ISTIO, "vectors_88_and_89_both_sides_must_be_there"),
    ("TR", &[90, 91], ISTIO, "vectors_90_and_91_subsets_select_hashes"),
    ("TR", &[92], ISTIO, "vector_92_a_missing_destination_rule_is_told"),
    ("TR", &[93], ISTIO, "vector_93_arms_have_subsets"),
    ("TR", &[97, 98], ISTIO, "vectors_97_and_98_a_header_route_comes_first_and_once"),
    ("TR", &[99], ISTIO, "vector_99_a_header_route_leads_to_the_subset"),
    ("TR", &[100], ISTIO, "vector_100_ports_are_copied_and_other_fields_survive"),
    ("TR", &[101], ISTIO, "vector_101_a_mirror_copies_the_route"),
    ("TR", &[102, 103], ISTIO, "vectors_102_and_103_mirrors_follow_the_weights"),
    ("TR", &[104], ISTIO, "vector_104_managed_routes_go_and_all_others_stay"),
    ("TR", &[105, 106], ISTIO, "vectors_105_and_106_nothing_is_done_by_halves"),
    ("TR", &[107], ISTIO, "vector_107_what_is_no_route_stays"),
    ("TR", &[108], ISTIO, "vector_108_a_name_may_carry_its_namespace"),
    ("TR", &[109], ISTIO, "vector_109_a_rule_that_nobody_names_is_left_clean"),
    ("TR", &[110], SMI, "v110_a_split_is_made"),
    ("TR", &[111, 112], SMI, "v111_v112_weights_move_without_an_event_and_only_when_they_differ"),
    ("TR", &[113], SMI, "v113_a_split_of_somebody_else_is_refused_and_that_of_a_predecessor_taken_over"),
    ("TR", &[114], SMI, "v114_an_unknown_version_is_refused"),
    ("TR", &[115], SMI, "v115_arms_stand_between_the_sides"),
    ("TR", &[117], APISIX, "v117_what_is_missing_is_told"),
    ("TR", &[118], APISIX, "v118_weights_move_and_only_when_they_differ"),
    ("TR", &[119], APISIX, "v119_a_header_route_is_a_copy_one_step_above"),
    ("TR", &[120], APISIX, "v120_an_existing_header_route_keeps_its_priority"),
    ("TR", &[121], APISIX, "v121_a_route_of_somebody_else_is_refused_and_never_deleted"),
    ("TR", &[122], APISIX, "v122_a_header_route_goes_when_it_is_not_wanted"),
    ("TR", &[123], APISIX, "v123_without_managed_routes_nothing_is_deleted"),
    ("TR", &[124], TRAEFIK, "v124_both_weights_are_set_and_nothing_else"),
    ("TR", &[125], TRAEFIK, "v125_services_that_are_not_in_the_list"),
    ("TR", &[126], AMBASSADOR, "v126_a_copy_for_the_canary_is_made"),
    ("TR", &[127], AMBASSADOR, "v127_scheme_and_port_around_the_service_stay"),
    ("TR", &[128], AMBASSADOR, "v128_only_the_weight_of_a_copy_changes"),
    ("TR", &[129], AMBASSADOR, "v129_weight_0_comes_first_and_the_deletion_later"),
    ("TR", &[130], AMBASSADOR, "v130_a_base_with_a_weight_of_its_own_is_refused"),
    ("TR", &[131], AMBASSADOR, "v131_long_names_are_cut"),
    ("TR", &[132], AMBASSADOR, "v132_kinds_by_the_operators_version"),
    // App Mesh has ended and plugins of others are not run: what vectors say of them is refused.
    ("TR", &[133, 134], APP_MESH, "it_is_refused_with_what_to_use_instead"),
    ("TR", &[135, 136], ROUTING_RULES, "rules_of_each_router_by_itself"),
    ("TR", &[137], GATEWAY, "vector_137_weights_and_label_come_and_go"),
    ("TR", &[138], GATEWAY, "vector_138_each_rule_with_both_sides_gets_a_header_rule"),
    ("TR", &[139], GATEWAY, "vector_139_headers_are_joined_and_filters_copied"),
    ("TR", &[140], GATEWAY, "vector_140_a_header_rule_keeps_its_backend"),
    ("TR", &[141, 142, 143, 144], ROUTING_RULES, "vectors_141_to_144_rules_of_traffic"),
    ("TR", &[145], REFERENCES, "vector_145_a_pair_is_looked_at_like_plain_services"),
];

const SCALE: &str = include_str!("../../../controller/src/rollout/scale.rs");
const ROUTED: &str = include_str!("../../../controller/src/rollout/routed.rs");
const DECIDE: &str = include_str!("../../../controller/src/rollout/traffic/decide.rs");
const NGINX: &str = include_str!("../../../controller/src/routers/nginx/tests.rs");
const ALB: &str = include_str!("../../../controller/src/routers/alb/tests.rs");
const ACTION: &str = include_str!("../../../controller/src/routers/alb/action.rs");
const REGISTRATION: &str = include_str!("../../../controller/src/routers/alb/registration.rs");
const VERIFY: &str = include_str!("../../../controller/src/routers/alb/verify/tests.rs");
const ISTIO: &str = include_str!("../../../controller/src/routers/istio/tests.rs");
const SMI: &str = include_str!("../../../controller/src/routers/smi.rs");
const APISIX: &str = include_str!("../../../controller/src/routers/apisix/tests.rs");
const TRAEFIK: &str = include_str!("../../../controller/src/routers/traefik.rs");
const AMBASSADOR: &str = include_str!("../../../controller/src/routers/ambassador.rs");
const APP_MESH: &str = include_str!("../../../controller/src/routers/app_mesh.rs");
const GATEWAY: &str = include_str!("../../../controller/src/routers/gateway_api/tests.rs");
const ROUTING_RULES: &str = include_str!("../../../api/src/validate/routing_tests.rs");
const REFERENCES: &str = include_str!("../../../api/src/validate/references.rs");
const CANONICAL: &str = include_str!("../../../api/src/schema/canonical.rs");

const ANALYSIS: &str = "needs analyses played to their end";
const EXPERIMENTS: &str = "needs experiments";
const JOBS: &str = "needs Jobs in the invented cluster";
const PLUGINS: &str = "needs step plugins";

/// What cannot be checked yet, and what it waits for.
const WAITING: &[(&str, &[usize], &str)] = &[
    ("K", &[7, 8], ANALYSIS),
    ("X", &[15, 16, 17, 18], PLUGINS),
    ("C", &[2], ANALYSIS),
    ("AX", &[13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26], EXPERIMENTS),
    ("AX", &[29, 30, 31], JOBS),
    ("AX", &[32], ANALYSIS),
];

/// Every vector is in exactly one of the lists, and the tests elsewhere exist.
pub fn check() {
    let known: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|(family, count)| (1..=*count).map(move |n| format!("{family}{n}")))
        .collect();
    let mut listed: Vec<String> = crate::all().map(|vector| vector.id.to_owned()).collect();
    listed.retain(|id| {
        let whole = id.split('/').next().unwrap_or(id);
        assert!(known.contains(whole), "{id} is no vector");
        whole == id
    });
    for (family, numbers, text, test) in ELSEWHERE {
        assert!(text.contains(&format!("fn {test}()")), "there is no test {test}");
        listed.extend(numbers.iter().map(|n| format!("{family}{n}")));
    }
    for (family, numbers, why) in WAITING {
        assert!(why.starts_with("needs "));
        listed.extend(numbers.iter().map(|n| format!("{family}{n}")));
    }
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    let twice: Vec<&String> =
        once.iter().filter(|id| listed.iter().filter(|l| l == id).count() > 1).collect();
    assert!(twice.is_empty(), "in two lists: {twice:?}");
    let forgotten: Vec<&String> = known.difference(&once).collect();
    assert!(forgotten.is_empty(), "neither checked nor waiting: {forgotten:?}");
    let unknown: Vec<&String> = once.difference(&known).collect();
    assert!(unknown.is_empty(), "no vectors: {unknown:?}");
}
