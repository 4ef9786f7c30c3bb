"""What the tables themselves refuse, also to their owner: rewriting the ledger, and steps that a reservation has not."""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION accounts_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused; write a correction instead', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_entry
    FOR EACH ROW EXECUTE FUNCTION accounts_append_only();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON accounts_entry EXECUTE FUNCTION accounts_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_line
    FOR EACH ROW EXECUTE FUNCTION accounts_append_only();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON accounts_line EXECUTE FUNCTION accounts_append_only();
"""
NO_APPEND_ONLY = """
DROP TRIGGER append_only ON accounts_entry;
DROP TRIGGER no_truncate ON accounts_entry;
DROP TRIGGER append_only ON accounts_line;
DROP TRIGGER no_truncate ON accounts_line;
DROP FUNCTION accounts_append_only();
"""

# The same table as accounts.models.reservation.TRANSITIONS; a test holds the two together. The condition is the
# trigger's, so that no step that is allowed calls the function.
STEPS = """
CREATE FUNCTION accounts_reservation_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a reservation cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER step BEFORE UPDATE OF state ON accounts_reservation
    FOR EACH ROW WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('open', 'settled'), ('open', 'released'), ('open', 'estimated'), ('estimated', 'settled')
    )) EXECUTE FUNCTION accounts_reservation_step();
"""
NO_STEPS = "DROP TRIGGER step ON accounts_reservation; DROP FUNCTION accounts_reservation_step();"


# Tables that every request writes to have no foreign keys to check (accounts.models.hot_key): what they refer to
# refuses to go instead.
REFERRED_TO = """
CREATE FUNCTION accounts_referred_to() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE referred boolean;
BEGIN
    IF TG_TABLE_NAME = 'accounts_account' THEN
        referred := EXISTS (SELECT 1 FROM accounts_entry WHERE debit_id = OLD.id)
            OR EXISTS (SELECT 1 FROM accounts_entry WHERE credit_id = OLD.id AND kind <> 'usage');
    ELSIF TG_TABLE_NAME = 'accounts_apikey' THEN
        referred := EXISTS (SELECT 1 FROM accounts_entry WHERE key_id = OLD.id)
            OR EXISTS (SELECT 1 FROM accounts_reservation WHERE key_id = OLD.id AND state = 'open');
    ELSIF TG_TABLE_NAME = 'accounts_budget' THEN
        referred := OLD.reserved <> 0 OR EXISTS (SELECT 1 FROM accounts_line WHERE budget_id = OLD.id);
    ELSE
        referred := OLD.state <> 'released';
    END IF;
    IF referred THEN
        RAISE EXCEPTION 'the ledger refers to this row of %: it stays', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER referred_to BEFORE DELETE ON accounts_account FOR EACH ROW EXECUTE FUNCTION accounts_referred_to();
CREATE TRIGGER referred_to BEFORE DELETE ON accounts_apikey FOR EACH ROW EXECUTE FUNCTION accounts_referred_to();
CREATE TRIGGER referred_to BEFORE DELETE ON accounts_budget FOR EACH ROW EXECUTE FUNCTION accounts_referred_to();
CREATE TRIGGER referred_to BEFORE DELETE ON accounts_reservation FOR EACH ROW EXECUTE FUNCTION accounts_referred_to();
"""
NOT_REFERRED_TO = """
DROP TRIGGER referred_to ON accounts_account;
DROP TRIGGER referred_to ON accounts_apikey;
DROP TRIGGER referred_to ON accounts_budget;
DROP TRIGGER referred_to ON accounts_reservation;
DROP FUNCTION accounts_referred_to();
"""

# Rows that are updated in place all the time: room on the page keeps the new version beside the old one.
ROOM = """
ALTER TABLE accounts_budget SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE accounts_hourlyspend SET (fillfactor = 70);
ALTER TABLE accounts_reservation SET (fillfactor = 80);
"""
NO_ROOM = """
ALTER TABLE accounts_budget RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE accounts_hourlyspend RESET (fillfactor);
ALTER TABLE accounts_reservation RESET (fillfactor);
"""


def open_house(apps, schema_editor):
    """The account that tenants' spend is credited to. A tenant of that name keeps it; the house takes the next one."""
    Account = apps.get_model("accounts", "Account")
    name, number = "house", 1
    while Account.objects.filter(name=name).exists():
        number += 1
        name = f"house {number}"
    Account.objects.create(name=name, is_house=True)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_money")]

    operations = [
        migrations.RunSQL(APPEND_ONLY, NO_APPEND_ONLY),
        migrations.RunSQL(STEPS, NO_STEPS),
        migrations.RunSQL(REFERRED_TO, NOT_REFERRED_TO),
        migrations.RunSQL(ROOM, NO_ROOM),
        migrations.RunPython(open_house, migrations.RunPython.noop),
    ]
