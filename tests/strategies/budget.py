"""Radio and optical links that make sense."""

from __future__ import annotations

from hypothesis import strategies as st

from link_models.budget import (
    Acm,
    ModemMode,
    OpticalLink,
    OpticalMode,
    RadioLink,
    ReceiveAntenna,
    TransmitAntenna,
)

MODES = (
    ("dvb-s2",),
    ("dvb-s2", "dvb-s2x"),
    ("dvb-s2-pilots qpsk *",),
    ("ccsds qpsk *",),
    ("ccsds bpsk ldpc 1/2", ModemMode(1e9, 120.0)),
)


@st.composite
def radio_links(draw: st.DrawFn) -> RadioLink:
    """From weak to strong, in all bands, up, down and across."""
    return RadioLink(
        frequency_hz=draw(st.floats(1e9, 45e9)),
        transmit=TransmitAntenna(
            power_w=draw(st.floats(0.1, 100.0)),
            gain_dbi=draw(st.floats(0.0, 40.0)),
            feeder_loss_db=draw(st.floats(0.0, 3.0)),
            pointing_error_deg=draw(st.floats(0.0, 0.2)),
        ),
        receive=ReceiveAntenna(
            diameter_m=draw(st.floats(0.3, 12.0)),
            noise_k=draw(st.floats(50.0, 1000.0)),
        ),
        modes=draw(st.sampled_from(MODES)),
        symbol_rate_hz=draw(st.floats(1e5, 1e9)),
        path=draw(st.sampled_from(("up", "down", "space"))),
        zenith_gas_db=draw(st.none() | st.floats(0.0, 1.0)),
        implementation_loss_db=draw(st.floats(0.0, 3.0)),
        acm=Acm(margin_db=draw(st.floats(0.0, 6.0))),
    )


@st.composite
def optical_links(draw: st.DrawFn) -> OpticalLink:
    """Of one to three rates."""
    return OpticalLink(
        power_w=draw(st.floats(0.01, 10.0)),
        divergence_rad=draw(st.floats(5e-6, 500e-6)),
        receive_aperture_m=draw(st.floats(0.02, 2.0)),
        obscuration=draw(st.floats(0.0, 0.5)),
        pointing_jitter_rad=draw(st.floats(0.0, 50e-6)),
        pointing_bias_rad=draw(st.floats(0.0, 20e-6)),
        path=draw(st.sampled_from(("up", "down", "space"))),
        modes=tuple(
            OpticalMode(rate_bps=rate, photons_per_bit=draw(st.floats(1.0, 1000.0)))
            for rate in (1e8, 1e9, 1e10)[: draw(st.integers(1, 3))]
        ),
    )
