"""A link in a box: a proxy that puts real programs at the two ends of a simulated channel.

Real time, no root and no kernel modules.

    program A  <->  listen_a | forward, backward | listen_b  <->  program B

A program sends to the box's address on its side and receives from it.  UDP datagrams cross each
direction's `Channel` in the trains that the kernel hands out and takes, where it knows them; with
`repair_port` the port above is carried too (the repair flow of FECFRAME, RFC 6363 §5.2).  TCP
connections are taken on one side and made anew on the other, and share the channel with them.
"""

from link_models.emulator.config import Address as Address
from link_models.emulator.config import EmulatorConfig as EmulatorConfig
from link_models.emulator.config import OpenPort as OpenPort
from link_models.emulator.config import StreamFaults as StreamFaults
from link_models.emulator.config import TcpConfig as TcpConfig
from link_models.emulator.emulator import DirectionName as DirectionName
from link_models.emulator.emulator import Emulator as Emulator
from link_models.emulator.plan import LinkPlan as LinkPlan
from link_models.emulator.plan import link_between as link_between
from link_models.emulator.world import TimeMapping as TimeMapping
