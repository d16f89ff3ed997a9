from vgpu_operator.elasticity.lacks import Lacks

ONE, OTHER = ("team", "one"), ("team", "other")


def test_a_claim_hears_of_what_others_of_its_pool_lack() -> None:
    lacks = Lacks()
    lacks.note("a100", ONE, 30.0)
    lacks.note("h100", OTHER, 5.0)

    assert lacks.of_others("a100", OTHER) == 30.0
    assert lacks.of_others("a100", ONE) == 0.0


def test_what_was_lacked_is_over_with_the_next_look_another_pool_or_the_end() -> None:
    lacks = Lacks()
    lacks.note("a100", ONE, 30.0)
    lacks.note("h100", ONE, 20.0)
    assert (lacks.of_others("a100", OTHER), lacks.of_others("h100", OTHER)) == (0.0, 20.0)

    lacks.note("h100", ONE, 0.0)
    assert lacks.of_others("h100", OTHER) == 0.0

    lacks.note("h100", ONE, 20.0)
    lacks.forget(ONE)
    assert lacks.of_others("h100", OTHER) == 0.0
