/* SPDX-License-Identifier: Apache-2.0 */
/* Suggestions: what was mistyped leads to what was meant. */
#include "core/nearest.h"

#include <criterion/criterion.h>
#include <string.h>

Test(nearest, counts_edits)
{
	cr_assert_eq(nearest_cost("cpus", "cpus"), 0);
	cr_assert_eq(nearest_cost("cpis", "cpus"), 4);
	cr_assert_eq(nearest_cost("cpuss", "cpus"), 4);
	cr_assert_eq(nearest_cost("cpsu", "cpus"), 4);
	cr_assert_eq(nearest_cost("", "cpus"), 16);
	cr_assert_eq(nearest_cost("kitten", "sitting"), 12);
	cr_assert_eq(nearest_cost("", ""), 0);
}

Test(nearest, favours_words_that_contain_the_typed_one)
{
	static const char *const known[] = {"magma", "gpu", "guest-memory", "virtio-mem"};

	cr_assert_str_eq(nearest_word("memory", known, 4), "guest-memory");
	cr_assert_str_eq(nearest_word("mem", known, 4), "virtio-mem");
}

Test(nearest, takes_the_first_of_equals_and_passes_gaps)
{
	static const char *const known[] = {NULL, "stop", "step", NULL};

	cr_assert_str_eq(nearest_word("stip", known, 4), "stop");
	cr_assert_null(nearest_word("x", known, 1));
	cr_assert_null(nearest_word("x", NULL, 0));
}

Test(nearest, bounds_long_words)
{
	char typed[4096];

	memset(typed, 'x', sizeof(typed) - 1);
	typed[sizeof(typed) - 1] = '\0';
	cr_assert_eq(nearest_cost(typed, "cpus"), NEAREST_WORD_MAX * 4);
	cr_assert_eq(nearest_cost("cpus", typed), NEAREST_WORD_MAX * 4);
	cr_assert_eq(nearest_cost(typed, typed), 0);
}
