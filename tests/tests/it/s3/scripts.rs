//! The protocol and the attacks that requests alone can tell, with repositories in a bucket.
//!
//! Invariant: every script is run here as well, or named with the reason why not.

mod protocol {
    pawl_tests::scripts_on_each_s3! {
        "protocol":
        a_damaged_copy_is_noticed_when_it_is_sent_again,
        a_listing_is_404_only_without_a_repository,
        a_listing_shows_only_whole_files,
        a_refusal_arrives_as_an_answer,
        at_most_16_keys,
        at_most_64_live_locks,
        authentication,
        config,
        config_at_its_cap,
        create_repository,
        delete,
        directory_of_rest_server,
        escapes,
        expired_locks,
        initialised_is_for_good,
        interrupted_init,
        keys,
        keys_for_maintenance,
        listing,
        locks,
        long_paths,
        methods,
        ranges,
        ranges_of_a_large_file,
        ranges_of_an_empty_file,
        repeated_upload,
        repository_names,
        restore_role,
        stat_and_read,
        tombstones,
        unknown_paths,
        upload,
        upload_that_is_not_what_it_says,
        upload_too_short_or_too_long,
        upload_without_a_repository,
    }
}

mod adversary {
    pawl_tests::scripts_on_each_s3! {
        "adversary":
        a01_reading_without_a_credential,
        a02_writing_without_a_credential,
        a05_claiming_a_name_in_a_header,
        a08_huge_heads,
        a10_garbage_instead_of_http,
        a11_request_smuggling,
        a15_overwriting_a_file,
        a16_garbage_under_the_name_of_a_future_file,
        a17_deleting,
        a18_other_methods,
        a19_a_second_config,
        a20_setting_keys_aside_by_creating_again,
        a21_a_key_of_ones_own,
        a22_keys_that_lock_everybody_out,
        a23_anothers_repository,
        a25_path_traversal,
        a26_reading_pawls_own_files,
        a27_writing_to_reserved_names,
        a28_anothers_lock,
        a29_a_lock_that_blocks_everybody,
        a30_locks_without_end,
        a31_larger_than_declared_or_allowed,
        a33_uploads_that_are_cut,
        a41_bringing_back_what_was_deleted,
        a43_forging_the_creator,
        a46_writing_with_a_restore_credential,
    }
}
