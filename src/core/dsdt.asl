/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's devices that cannot be probed. Goes through the C preprocessor first, so that every
 * address, port and line is layout.h's. */
#include "core/layout.h"

#define INTX_ENTRY(slot)                                                                           \
	Package () { (slot << 16) | 0xFFFF, 0, Zero, LAYOUT_GSI_INTX + (slot % 4) }
#define INTX_ENTRIES(slot)                                                                         \
	INTX_ENTRY (slot), INTX_ENTRY ((slot + 1)), INTX_ENTRY ((slot + 2)), INTX_ENTRY ((slot + 3))

DefinitionBlock ("", "DSDT", 2, "RINGVS", "RINGVSOR", 1)
{
	/* Written to the sleep control register by ACPI 6.4 §4.8.3.7. */
	Name (\_S5, Package () { LAYOUT_SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, LAYOUT_PORT_PCI_ADDRESS, LAYOUT_PORT_PCI_ADDRESS, 1, 8)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0, LAYOUT_PCI_MMIO,
					LAYOUT_PCI_MMIO_LAST, 0, LAYOUT_PCI_MMIO_BYTES)
			})

			/* Every function uses INTA. */
			Name (_PRT, Package ()
			{
				INTX_ENTRIES (0), INTX_ENTRIES (4), INTX_ENTRIES (8),
				INTX_ENTRIES (12), INTX_ENTRIES (16), INTX_ENTRIES (20),
				INTX_ENTRIES (24), INTX_ENTRIES (28)
			})

			/* There is no firmware that would use a PCI Express feature: the system may
			 * control all that it asks for. */
			Method (_OSC, 4, NotSerialized)
			{
				If (Arg0 != ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
				{
					CreateDWordField (Arg3, 0, STAT)
					STAT |= 4
				}
				Return (Arg3)
			}
		}

		/* What no driver claims but nobody else may use: ECAM, without which Linux does not
		 * trust the MCFG table, and the ports of sleep, reset and event. */
		Device (MRES)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_ECAM, LAYOUT_ECAM_BYTES)
				IO (Decode16, LAYOUT_PORT_SLEEP, LAYOUT_PORT_SLEEP, 1, 4)
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_UART, LAYOUT_PORT_UART, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
					{ LAYOUT_GSI_UART }
			})
		}

		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
		}

		/* Generic event device (ACPI 6.4 §5.6.9): its interrupt says that the event port has
		 * news; reading that port clears it. */
		Device (GED0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive)
					{ LAYOUT_GSI_EVENT }
			})
			OperationRegion (EVTR, SystemIO, LAYOUT_PORT_EVENT, 1)
			Field (EVTR, ByteAcc, NoLock, WriteAsZeros)
			{
				EVTS, 8
			}
			Method (_EVT, 1, Serialized)
			{
				Local0 = EVTS
				If (Local0 & 1)
				{
					Notify (PWRB, 0x80)
				}
			}
		}
	}
}
